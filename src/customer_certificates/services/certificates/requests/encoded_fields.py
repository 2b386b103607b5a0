"""Decodes fields that contain a file, as base64 or as PEM."""

import base64
import re

from ....errors import Finding
from ....pki.pem.markers import is_pem, plain_text

_URL_SAFE = str.maketrans("-_", "+/")
# Line breaks (also escaped ones), white space and quotes.
_BETWEEN = re.compile(r"(?<!\\)\\++[rn]|[\s\"'`]+")


def decode_field(text: str, field: str) -> tuple[bytes, tuple[Finding, ...]]:
    """Returns the decoded bytes of `text`, and findings about its encoding.

    Accepts base64 (RFC 4648, section 4). Also accepts, with an info finding, PEM text, and base64
    with the URL-safe alphabet, with line breaks or without padding. Raises ValueError for anything
    else; its message quotes nothing of `text`.
    """
    try:
        return base64.b64decode(text, validate=True), ()
    except ValueError:
        pass
    # A lone surrogate is not part of any key.
    data = text.encode("utf-8", "replace")
    if is_pem(data):
        return data, (_taken_as_pem(field),)
    plain, _ = plain_text(text)
    encoded = _BETWEEN.sub("", plain).translate(_URL_SAFE).rstrip("=")
    try:
        data = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        data = b""
    if not data:
        raise ValueError(f"{field} is neither base64 nor PEM") from None
    return data, (_unusual(field),)


def not_decodable(field: str) -> Finding:
    """Returns the finding `invalid_value` for text that `decode_field` rejects."""
    hint = "Send the base64 of the whole file: base64 -w0 FILE"
    return Finding("invalid_value", field, f"{field} is neither base64 nor PEM.", hint)


def _taken_as_pem(field: str) -> Finding:
    detail = f"{field} is PEM text, not base64. It was accepted."
    hint = "No action needed. The usual form is the base64 of the file: base64 -w0 FILE"
    return Finding("pem_not_encoded", field, detail, hint, "info")


def _unusual(field: str) -> Finding:
    return Finding(
        "base64_unusual",
        field,
        f"{field} is base64 with the URL-safe alphabet, with line breaks or without padding. "
        "It was decoded.",
        "No action needed. The usual form is one line of standard base64: base64 -w0 FILE",
        "info",
    )
