"""The users of these tests are added to the database."""

from ..owners import owner, stranger

__all__ = ["owner", "stranger"]
