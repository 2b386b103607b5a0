"""The database: transactions for writes, prepared statements for fast reads."""

from .database import Database
from .engines import migration_engine, shown_url
from .parameters import int_param, text_param, time_param
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
    "int_param",
    "migration_engine",
    "shown_url",
    "text_param",
    "time_param",
]
