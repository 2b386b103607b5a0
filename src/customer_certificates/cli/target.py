"""Prints which profile and database a command acts on, before it acts."""

from ..config import Config
from ..terminal import note


def tell_target(config: Config) -> None:
    """Prints the profile and the database to standard error: the output may be read by programs."""
    # Here, as commands that name no database do without SQLAlchemy.
    from ..gateways.database import shown_url

    note(
        f"customer-certificates: profile {config.profile}, "
        f"database {shown_url(config.database_url)}"
    )
