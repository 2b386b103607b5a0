"""Descriptions of fields, for the API description."""

from typing import Any

from msgspec import Meta


def doc(description: str, *examples: Any, **constraints: Any) -> Meta:
    """Returns the metadata of a field: its description, examples, and constraints of Meta."""
    return Meta(description=description, examples=[*examples] or None, **constraints)
