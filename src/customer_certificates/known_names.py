"""Names from outside, for error messages: escaped, and with the nearest known name."""

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST_SHOWN = 40
# A longer name is not a typing error, and comparing it is slow.
_LONGEST_COMPARED = 100


def shown(text: str) -> str:
    """Returns the first 40 characters of `text`, escaped and in quotes."""
    start = text[:LONGEST_SHOWN]
    escaped = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in start
    )
    return f'"{escaped}{"…" if len(text) > LONGEST_SHOWN else ""}"'


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Returns the `known` name that is most similar to `name`, if any is similar."""
    if len(name) > _LONGEST_COMPARED:
        return None
    by_lower_case = {one.lower(): one for one in known}
    found = get_close_matches(name.lower(), by_lower_case, 1)
    return by_lower_case[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns a question with the nearest `known` name, or an empty string."""
    found = nearest(name, known)
    return f" Did you mean {found}?" if found else ""
