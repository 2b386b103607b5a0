"""Users that the tests of HTTP add to the database: hashing a password costs more than all else."""

import pytest
import sqlalchemy as sa

from .tables import add_users


@pytest.fixture
def owner(engine: sa.Engine) -> int:
    """The id of a user whose certificates they are."""
    return add_users(engine, 1)[0]


@pytest.fixture
def stranger(engine: sa.Engine) -> int:
    """The id of a user whose certificates they are not."""
    return add_users(engine, 1)[0]
