"""Runs the migrations against the database that the service's own configuration names."""

from logging.config import fileConfig
from typing import Any, Literal

from alembic import context
from alembic.util import CommandError
from sqlalchemy import DateTime, text

from customer_certificates.config import Config
from customer_certificates.gateways.database import migration_engine
from customer_certificates.gateways.database.schema import SchemaError, grant, require_utf8
from customer_certificates.models import Base

# Any number: two migrations that start at once must ask for the same lock.
_LOCK = 0x6363_6D69_6772


def _render(kind: str, item: Any, _context: object) -> str | Literal[False]:
    """Migrations name plain types: they must mean the same when the models have moved on."""
    if kind == "type" and isinstance(item, DateTime):
        return "sa.DateTime(timezone=True)"
    return False


_OPTIONS: dict[str, Any] = {
    "target_metadata": Base.metadata,
    "render_item": _render,
    "render_as_batch": True,
    # All migrations in one transaction, on SQLite too: they are all there, or none is.
    "transactional_ddl": True,
}


def _url() -> str:
    url: str | None = context.config.attributes.get("database_url")
    return url or Config.from_environ().database_owner_url


def _service_url() -> str:
    url: str | None = context.config.attributes.get("service_url")
    return url or Config.from_environ().database_url


def _run_offline() -> None:
    context.configure(url=_url(), literal_binds=True, **_OPTIONS)
    with context.begin_transaction():
        context.run_migrations()


def _run_online() -> None:
    engine = migration_engine(_url())
    with engine.connect() as connection:
        require_utf8(connection)
        # Ends the transaction that the question began; the migrations have one of their own.
        connection.rollback()
        context.configure(connection=connection, **_OPTIONS)
        if connection.dialect.name == "sqlite":
            # A rebuilt table is dropped, and what refers to its rows would go with them.
            driver: Any = connection.connection.dbapi_connection
            driver.execute("PRAGMA foreign_keys = OFF")
        with context.begin_transaction():
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            context.run_migrations()
            if connection.dialect.name == "postgresql":
                grant(connection, _service_url())
            if connection.dialect.name == "sqlite":
                broken = connection.execute(text("PRAGMA foreign_key_check")).all()
                if broken:
                    raise RuntimeError(f"the migration left rows without their owner: {broken}")
    engine.dispose()


if context.config.config_file_name:
    fileConfig(context.config.config_file_name, disable_existing_loggers=False)
if context.is_offline_mode():
    _run_offline()
else:
    try:
        _run_online()
    except SchemaError as error:
        if context.config.config_file_name:
            # The command `alembic` prints that without a traceback.
            raise CommandError(str(error)) from error
        raise
