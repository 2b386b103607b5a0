"""Types and descriptions of fields, for the API description."""

from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta

Id = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Time = Annotated[datetime, Meta(tz=True)]


def doc(description: str, *examples: Any, **constraints: Any) -> Meta:
    """Returns the metadata of a field: its description, examples, and constraints of Meta."""
    return Meta(description=description, examples=[*examples] or None, **constraints)
