"""How what certificates say is quoted in sentences: bounded, and harmless to print."""

from datetime import datetime

_MOST_CHARACTERS = 200


def shown(text: str, most: int = _MOST_CHARACTERS) -> str:
    """`text` without line breaks, control and direction characters, cut after `most` characters.

    A character that does not print is written as RFC 4514 escapes it: its UTF-8 bytes, each as a
    backslash and two hexadecimal digits.
    """
    if text.isprintable() and len(text) <= most:
        return text
    cut = text[:most]
    made = "".join(one if one.isprintable() else _escaped(one) for one in cut)
    return made + "…" if len(cut) < len(text) else made


def listed(texts: list[str], most: int = 5) -> str:
    """The first `most` of `texts`, and how many more there are."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(f"«{shown(text)}»" for text in texts[:most]) + more


def moment(at: datetime) -> str:
    """`at`, a time in UTC, as RFC 3339 writes it."""
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _escaped(character: str) -> str:
    return "".join(f"\\{byte:02X}" for byte in character.encode("utf-8", "replace"))
