"""Creates SQLAlchemy's engines, and shows the database's URL without secrets."""

from types import ModuleType
from typing import Any

from sqlalchemy import URL, Engine, NullPool, create_engine, event, make_url

from .drivers import postgresql, sqlite


def open_engine(url: str, **options: Any) -> tuple[ModuleType, Engine]:
    """Returns the module of the driver, and an engine for the database at `url`."""
    parsed = make_url(url)
    driver = postgresql if parsed.get_backend_name() == "postgresql" else sqlite
    engine = create_engine(
        parsed, connect_args=driver.connect_arguments(parsed), hide_parameters=True, **options
    )
    driver.configure(engine)
    return driver, engine


def migration_engine(url: str) -> Engine:
    """Returns an engine for `alembic/env.py`, without statement timeouts."""
    driver, engine = open_engine(url, poolclass=NullPool)
    event.listen(engine, "connect", driver.lift_timeouts)
    return engine


def shown_url(url: str) -> str:
    """Returns the database's URL without passwords and options, which may contain a password."""
    parsed = make_url(url)
    address = {name: value for name, value in parsed.query.items() if name in ("host", "port")}
    return URL.create(
        parsed.get_backend_name(),
        parsed.username,
        # In a password that was not escaped, an @ looks like the start of the host.
        host=parsed.host and parsed.host.rpartition("@")[2],
        port=parsed.port,
        database=parsed.database,
        query=address,
    ).render_as_string()
