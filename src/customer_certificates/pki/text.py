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
    cut = text[:most]
    made = "".join(
        character if character.isprintable() else _escaped(character) for character in cut
    )
    return made + "…" if len(cut) < len(text) else made


def listed(texts: list[str], most: int = 5) -> str:
    """Returns the first `most` of `texts`, and the number of the others."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(f"«{shown(text)}»" for text in texts[:most]) + more


def moment(at: datetime) -> str:
    """Formats `at`, a time in UTC, as in RFC 3339."""
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _escaped(character: str) -> str:
    return "".join(f"\\{byte:02X}" for byte in character.encode("utf-8", "replace"))
