"""The schema of the database: its revision, and its migrations."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, inspect, make_url, text
from sqlalchemy.exc import DBAPIError

from .engines import migration_engine

if TYPE_CHECKING:
    from alembic.config import Config as AlembicConfig

_TO_RUN = "Run: customer-certificates migrate (or: alembic upgrade head)"
_ROLE_EXISTS = "SELECT true FROM pg_roles WHERE rolname = :role"
_CREATE = """
    SELECT format(
        'CREATE ROLE %I LOGIN PASSWORD %L', CAST(:role AS text), CAST(:password AS text)
    )
"""
_GRANTED = (
    ("USAGE", "SCHEMA"),
    ("SELECT, INSERT, UPDATE, DELETE", "ALL TABLES IN SCHEMA"),
    ("USAGE", "ALL SEQUENCES IN SCHEMA"),
)
# Recorded entries must not change, and only the owner changes the schema.
_REVOKED = {
    "alembic_version": "INSERT, UPDATE, DELETE",
    "audit": "UPDATE, DELETE",
    "service_latches": "UPDATE, DELETE",
    "service_secrets": "INSERT, UPDATE, DELETE",
    "audit_exports": "DELETE",
}


class SchemaError(Exception):
    """The database cannot be used. The message gives the remedy."""


def migrate(owner_url: str, service_url: str) -> None:
    """Upgrades the schema to head, and grants access to the role of `service_url`.

    Raises SchemaError if the database cannot be used.
    """
    # Imported here because other commands do not need it: it is a tenth of their imports.
    from alembic import command
    from alembic.util import CommandError

    try:
        command.upgrade(_alembic(owner_url, service_url), "head")
    except SchemaError:
        raise
    except (DBAPIError, OSError) as error:
        raise SchemaError(_unusable(error)) from error
    except CommandError as error:
        raise SchemaError(
            f"The database cannot be migrated: {error}. A newer version may have migrated it."
        ) from error


def require_head(url: str) -> None:
    """Raises SchemaError unless the schema is at the newest migration."""
    try:
        with migration_engine(url).connect() as connection:
            require_utf8(connection)
            tables = inspect(connection).get_table_names()
            current = _current(connection) if "alembic_version" in tables else []
    except (DBAPIError, OSError) as error:
        hint = f". The database may not be migrated yet. {_TO_RUN}"
        raise SchemaError(
            _unusable(error) + (hint if _is_refused_login(error, url) else "")
        ) from error
    if current != [head()]:
        state = f"at revision {', '.join(current) or 'none'}" if tables else "empty"
        raise SchemaError(
            f"The database is {state}. This version needs revision {head()}. " + _TO_RUN
        )


def head() -> str:
    """Returns the revision of the newest migration.

    Reads it from the file names, which consist of a date and the revision. Alembic would run all
    migration modules to find it.
    """
    newest = max(path.name for path in (_scripts() / "versions").glob("*.py"))
    return newest.split("_")[1]


def _current(connection: Connection) -> list[str]:
    return list(connection.scalars(text("SELECT version_num FROM alembic_version")))


def require_utf8(connection: Connection) -> None:
    """Raises SchemaError unless the database's encoding is UTF-8."""
    if connection.dialect.name != "postgresql":
        return
    encoding = connection.scalar(text("SHOW server_encoding"))
    if encoding != "UTF8":
        raise SchemaError(
            f"The database has the encoding {encoding}. The service needs UTF8. Create another "
            "database: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )


def require_row_level_security(url: str) -> None:
    """Raises SchemaError if the role of `url` bypasses row-level security."""
    engine = migration_engine(url)
    if engine.dialect.name != "postgresql":
        return
    try:
        with engine.connect() as connection:
            role, passes = connection.execute(
                text(
                    "SELECT current_user, rolsuper OR rolbypassrls FROM pg_roles"
                    " WHERE rolname = current_user"
                )
            ).one()
    except DBAPIError as error:
        raise SchemaError(_unusable(error)) from error
    if passes:
        raise SchemaError(
            f"The role {role} of CC_DATABASE_URL bypasses row-level security: it is a superuser, or"
            " has BYPASSRLS. Use a role that owns nothing, and migrate with another role"
            " (CC_DATABASE_OWNER_URL)."
        )


def grant(connection: Connection, service_url: str) -> None:
    """Lets the role of `service_url` read and write what `connection`'s role owns.

    Creates the role if it does not exist. Raises SchemaError if the role exists and the server
    refuses its password.
    """
    url = make_url(service_url)
    role = url.username
    if role is None or connection.scalar(text("SELECT current_user")) == role:
        return
    if connection.scalar(text(_ROLE_EXISTS), {"role": role}):
        _require_login(service_url, role)
    else:
        statement = connection.scalar(text(_CREATE), {"role": role, "password": url.password})
        # Unescaped: SQLAlchemy would read parts of a password as a parameter.
        driver: Any = connection.connection.driver_connection
        driver.execute(statement)
    quote = connection.dialect.identifier_preparer.quote
    grantee = quote(role)
    schema = quote(str(connection.scalar(text("SELECT current_schema()"))))
    for rights, objects in _GRANTED:
        connection.execute(text(f"GRANT {rights} ON {objects} {schema} TO {grantee}"))
    for table, rights in _REVOKED.items():
        if inspect(connection).has_table(table):
            connection.execute(text(f"REVOKE {rights} ON {table} FROM {grantee}"))


def _require_login(url: str, role: str) -> None:
    try:
        migration_engine(url).connect().close()
    except DBAPIError as error:
        # Other errors may concern only this machine, and the service may run on another one.
        if _is_refused_login(error, url):
            raise SchemaError(
                f"The role {role} exists, but its password is not the one in CC_DATABASE_URL"
                f" ({_reason(error)}). Nothing was changed. Put the role's password into"
                f" CC_DATABASE_URL, or change it: ALTER ROLE {role} PASSWORD '…'"
            ) from error


def _is_refused_login(error: DBAPIError | OSError, url: str) -> bool:
    """Whether the server refused the role of `url`, or its password.

    libpq gives no code for this, only a message in the server's language, with the role's name.
    """
    role = make_url(url).username
    reason = str(error)
    return bool(role) and str(role) in reason and "pg_hba.conf" not in reason


def _alembic(owner_url: str, service_url: str) -> "AlembicConfig":
    from alembic.config import Config as AlembicConfig

    config = AlembicConfig()
    config.set_main_option("script_location", str(_scripts()).replace("%", "%%"))
    config.attributes["database_url"] = owner_url
    config.attributes["service_url"] = service_url
    return config


def _scripts() -> Path:
    """Returns the migrations' folder.

    It is beside this package in an installation, and above it in a checkout.
    """
    package = Path(__file__).parents[2]
    installed = package / "alembic"
    return installed if installed.is_dir() else package.parents[1] / "alembic"


def _unusable(error: DBAPIError | OSError) -> str:
    if isinstance(error, OSError):
        return f"The database's file cannot be used: {error.strerror}: {error.filename}"
    return f"The database of CC_DATABASE_URL cannot be used: {_reason(error)}"


def _reason(error: DBAPIError) -> str:
    return str(error.orig).strip().partition("\n")[0]
