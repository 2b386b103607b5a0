"""Quotes untrusted text in messages, with limited length and without control characters."""

from datetime import datetime

_MOST_CHARACTERS = 200


def shown(text: str, most: int = _MOST_CHARACTERS) -> str:
    """Returns `text` in one line, escaped and cut after `most` characters.

    Control and direction characters are escaped as in RFC 4514: the UTF-8 bytes, each as a
    backslash and two hexadecimal digits.
    """
    if text.isprintable() and len(text) <= most:
        return text
    return "".join(map(_escaped, text[:most])) + "…" * (len(text) > most)


def listed(texts: list[str], most: int = 5) -> str:
    """Returns the first `most` of `texts`, and the number of the others."""
    others = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(f"«{shown(text)}»" for text in texts[:most]) + others


def moment(at: datetime) -> str:
    """Formats `at`, a time in UTC, as in RFC 3339."""
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    return "".join(f"\\{byte:02X}" for byte in character.encode("utf-8", "replace"))
