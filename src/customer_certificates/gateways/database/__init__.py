"""The database: transactions for writes, prepared statements for fast reads."""

from .database import Database
from .engines import migration_engine, shown_url
from .prepared import EVERYBODY, BoundStatement, Tenant
from .transaction import ConstraintBroken, Locked, Transaction

__all__ = [
    "EVERYBODY",
    "BoundStatement",
    "ConstraintBroken",
    "Database",
    "Locked",
    "Tenant",
    "Transaction",
    "migration_engine",
    "shown_url",
]
