"""Names and values that a client sent, as error messages show them."""

from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST_SHOWN = 40
# A longer name is no typing error, and a comparison with it takes long.
_LONGEST_COMPARED = 100


def shown(text: str) -> str:
    """`text` in quotes: printable characters only, 40 of them at most."""
    start = text[:_LONGEST_SHOWN]
    escaped = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in start
    )
    return f'"{escaped}{"…" if len(text) > _LONGEST_SHOWN else ""}"'


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question with the nearest of the `known` names, or nothing if none is near."""
    if len(name) > _LONGEST_COMPARED:
        return ""
    by_lower_case = {one.lower(): one for one in known}
    found = get_close_matches(name.lower(), by_lower_case, 1)
    return f" Did you mean {by_lower_case[found[0]]}?" if found else ""
