"""Responses in CSV, for spreadsheets."""

import csv
import io
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from falcon import Request

from ..errors import NotAcceptable
from ..services.etags import encode

MEDIA_TYPE = "text/csv"
_TYPES = ("application/json", "application/problem+json", MEDIA_TYPE)
# Spreadsheets take cells that begin with these characters for formulas. Some skip leading space.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def is_preferred(req: Request) -> bool:
    """Returns whether the client prefers CSV to JSON. Raises NotAcceptable if it accepts neither.

    Use this in a resource with `speaks_json = False`.
    """
    preferred = req.client_prefers(_TYPES)
    if preferred is None:
        raise NotAcceptable(
            "This endpoint responds with JSON or CSV. Send Accept: application/json, or Accept: "
            "text/csv."
        )
    return preferred == MEDIA_TYPE


def table(kind: type[msgspec.Struct], rows: Iterable[msgspec.Struct]) -> bytes:
    """Returns `rows` of the `kind` as CSV (RFC 4180) in UTF-8, after a row of their fields."""
    text = io.StringIO()
    writer = csv.writer(text)
    fields = kind.__struct_fields__
    writer.writerow(fields)
    for row in rows:
        writer.writerow([_cell(getattr(row, name)) for name in fields])
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    """Returns the text of a cell: values as in JSON, lists with spaces between their items."""
    if value is None:
        return ""
    if isinstance(value, bool | int | datetime):
        return encode(value).decode().strip('"')
    text = " ".join(value) if isinstance(value, list) else str(value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) or text.startswith(_FORMULA) else text
