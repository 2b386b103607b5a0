"""Records that a database was used with authentication, and requires it afterwards."""

from datetime import datetime

from sqlalchemy import DateTime, Text, column, select, table

from .engines import migration_engine
from .sql_functions import insert_new

_LATCHES = table("service_latches", column("name", Text), column("since", DateTime(timezone=True)))
_WITH_CREDENTIALS = "served_with_credentials"
_MARKED = select(_LATCHES.c.since).where(_LATCHES.c.name == _WITH_CREDENTIALS)


class ModeError(Exception):
    """The database must not be used in this mode. The message gives the reason and the remedy."""


def require_auth_mode(url: str, *, asks_credentials: bool, now: datetime) -> None:
    """Marks a database that is used with authentication.

    The schema must be at head. Raises ModeError if it is marked, and would now be used without
    authentication.
    """
    engine = migration_engine(url)
    with engine.begin() as connection:
        is_marked = connection.execute(_MARKED).first() is not None
        if is_marked and not asks_credentials:
            raise ModeError(
                "The database was used with authentication (profile prd), so the service "
                "refuses to start on it without. Set CC_ENV=prd, or use another database."
            )
        if asks_credentials and not is_marked:
            # Another process may do the same at this moment.
            connection.execute(insert_new(_LATCHES).values(name=_WITH_CREDENTIALS, since=now))
    engine.dispose()


def require_credentials(url: str, profile: str, *, asks_credentials: bool) -> None:
    """Raises ModeError if the database was never used with authentication.

    The service would then accept no tokens.
    """
    if asks_credentials:
        return
    engine = migration_engine(url)
    with engine.begin() as connection:
        is_marked = connection.execute(_MARKED).first() is not None
    engine.dispose()
    if not is_marked:
        raise ModeError(
            f"The profile {profile} requires no authentication, so it accepts no tokens. No token "
            "was created. Set CC_ENV=prd, CC_DATABASE_URL and CC_MASTER_KEY to the values of the "
            "service in the profile prd. Then run the command again."
        )
