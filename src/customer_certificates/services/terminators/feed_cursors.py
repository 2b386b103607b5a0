"""The position of a reader in the feed, encoded as text. Pure."""

import re
from typing import NamedTuple

_NUMBER = "([0-9]{1,19})"
_FORM = re.compile(rf"([0-9a-f]{{16}})\.{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:\.{_NUMBER})?")
_LARGEST = 2**63 - 1


class Cursor(NamedTuple):
    """The reader has read all events up to the position (`xid`, `id`).

    The cursor was issued at the `second` (since 1970), by the database that `epoch` names. `after`:
    within a snapshot, the last certificate that was sent; None: the snapshot is complete.
    """

    epoch: str
    second: int
    xid: int
    id: int
    after: int | None = None

    def __str__(self) -> str:
        return ".".join(str(part) for part in self if part is not None)


def read(text: str) -> Cursor | None:
    """Returns the cursor that `text` encodes; None if it is invalid."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    epoch, *parts = found.groups()
    numbers = [int(part) for part in parts if part is not None]
    return Cursor(epoch, *numbers) if max(numbers) <= _LARGEST else None
