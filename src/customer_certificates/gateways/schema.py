"""The schema of the database: where it stands, and where the migrations would bring it."""

from pathlib import Path

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect
from sqlalchemy.exc import DBAPIError

from .database import migration_engine


class SchemaError(Exception):
    """The database cannot be served from as it is. The message says what to do."""


def migrate(url: str) -> None:
    """Brings the schema to head. Raises SchemaError where the database cannot be reached."""
    try:
        command.upgrade(_alembic(url), "head")
    except DBAPIError as error:
        raise SchemaError(_unreachable(error)) from error


def require_head(url: str) -> None:
    """Raises SchemaError unless the schema is exactly what the migrations end in."""
    engine = migration_engine(url)
    try:
        with engine.connect() as connection:
            current = MigrationContext.configure(connection).get_current_heads()
            empty = not inspect(connection).get_table_names()
    except DBAPIError as error:
        raise SchemaError(_unreachable(error)) from error
    finally:
        engine.dispose()
    head = ScriptDirectory.from_config(_alembic(url)).get_heads()
    if set(current) != set(head):
        found = "empty" if empty else f"at revision {', '.join(current) or 'none'}"
        raise SchemaError(
            f"The database is {found}; this version needs revision {', '.join(head)}. "
            "Run: customer-certificates migrate (or: alembic upgrade head)"
        )


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


def _unreachable(error: DBAPIError) -> str:
    reason = str(error.orig).strip().partition("\n")[0]
    return f"The database of CC_DATABASE_URL cannot be used: {reason}"
