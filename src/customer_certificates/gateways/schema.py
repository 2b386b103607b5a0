"""The schema of the database: where it stands, and where the migrations would bring it."""

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import inspect
from sqlalchemy.exc import DBAPIError

from .database import migration_engine

_ONCE_HELD_KEYS = ("certificates", "certificate_versions", "unsealed_keys")


class SchemaError(Exception):
    """The database cannot be served from as it is. The message says what to do."""


def migrate(url: str) -> None:
    """Brings the schema to head. Raises SchemaError where the database cannot be used."""
    try:
        command.upgrade(_alembic(url), "head")
    except (DBAPIError, OSError) as error:
        raise SchemaError(_unusable(error)) from error
    except CommandError as error:
        raise SchemaError(
            f"The database cannot be migrated, perhaps because it is a newer version's: {error}."
        ) from error


def require_head(url: str) -> None:
    """Raises SchemaError unless the schema is exactly what the migrations end in."""
    try:
        with migration_engine(url).connect() as connection:
            current = MigrationContext.configure(connection).get_current_heads()
            empty = not inspect(connection).get_table_names()
    except (DBAPIError, OSError) as error:
        raise SchemaError(_unusable(error)) from error
    head = ScriptDirectory.from_config(_alembic(url)).get_heads()
    if set(current) != set(head):
        found = "empty" if empty else f"at revision {', '.join(current) or 'none'}"
        raise SchemaError(
            f"The database is {found}; this version needs revision {', '.join(head)}. "
            "Run: customer-certificates migrate (or: alembic upgrade head)"
        )


def overwrite_freed(url: str) -> None:
    """Has the database write anew the tables that held private keys before they were sealed: what
    is deleted stays in its files until then."""
    engine = migration_engine(url)
    connection = engine.raw_connection()
    driver: Any = connection.dbapi_connection
    if engine.dialect.name == "postgresql":
        driver.autocommit = True
        statements = [f"VACUUM FULL {table}" for table in _ONCE_HELD_KEYS]
    else:
        statements = ["VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"]
    for statement in statements:
        driver.execute(statement)
    connection.close()
    engine.dispose()


def _alembic(url: str) -> AlembicConfig:
    config = AlembicConfig()
    config.set_main_option("script_location", str(_scripts()).replace("%", "%%"))
    config.attributes["database_url"] = url
    return config


def _scripts() -> Path:
    """The migrations: beside this package where it is installed, above it in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "alembic"
    return installed if installed.is_dir() else package.parents[1] / "alembic"


def _unusable(error: DBAPIError | OSError) -> str:
    if isinstance(error, OSError):
        return f"The database's file cannot be used: {error.strerror}: {error.filename}"
    reason = str(error.orig).strip().partition("\n")[0]
    return f"The database of CC_DATABASE_URL cannot be used: {reason}"
