"""Prints which profile and database a command acts on, before it acts."""

from ..config import Config
from ..terminal import note


def print_target(config: Config) -> None:
    """Prints the profile and the database to standard error. Programs may read the output."""
    # Commands without a database do not import SQLAlchemy.
    from ..gateways.database import shown_url

    note(
        f"customer-certificates: profile {config.profile}, "
        f"database {shown_url(config.database_url)}"
    )
