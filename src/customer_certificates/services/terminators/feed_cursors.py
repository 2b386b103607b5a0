"""Where a reader of the feed stands, as the text that it is given and brings back. Pure."""

import re
from typing import NamedTuple

_NUMBER = "([0-9]{1,19})"
_FORM = re.compile(rf"([0-9a-f]{{16}})\.{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:\.{_NUMBER})?")
_LARGEST = 2**63 - 1


class Cursor(NamedTuple):
    """All events up to the position (`xid`, `id`) were read, at the `second` (since 1970) at which
    it was given out, of the database that `epoch` names.

    `after`: within a snapshot, the last certificate that it has had; None: it is complete.
    """

    epoch: str
    second: int
    xid: int
    id: int
    after: int | None = None

    def __str__(self) -> str:
        return ".".join(str(part) for part in self if part is not None)


def read(text: str) -> Cursor | None:
    """The cursor that `text` is; None where it is none."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    epoch, *parts = found.groups()
    numbers = [int(part) for part in parts if part is not None]
    return Cursor(epoch, *numbers) if max(numbers) <= _LARGEST else None
