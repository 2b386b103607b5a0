"""Typed parameters of prepared statements."""

from typing import Any

from sqlalchemy import BigInteger, DateTime, Text, bindparam


def int_param(name: str) -> Any:
    """Returns a parameter that is an integer of 64 bits."""
    return bindparam(name, type_=BigInteger)


def text_param(name: str) -> Any:
    """Returns a parameter that is a text."""
    return bindparam(name, type_=Text)


def time_param(name: str) -> Any:
    """Returns a parameter that is a time with a time zone."""
    return bindparam(name, type_=DateTime(timezone=True))
