"""Names that one request at a time holds, on one host: for a database that does not tell."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from .. import loop

_LOOK_SECONDS = 0.02


class FileLocks:
    """A name is held by a lock on a file of its own, in one process or another. Whoever dies holds
    none; its file stays, empty, until the name is held again."""

    def __init__(self, folder: Path) -> None:
        """`folder` is made where it is not there, for this account alone."""
        self._folder = folder

    def hold(self, name: str, seconds: float) -> Callable[[], None] | None:
        """Holds `name` until what is given is called; None where somebody else has not let go of it
        within `seconds`. Raises OSError."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        path = self._folder / name
        deadline = monotonic() + seconds
        while (descriptor := _locked(path)) is None:
            if monotonic() > deadline:
                return None
            loop.sleep(_LOOK_SECONDS)

        def let_go() -> None:
            # While it is locked: afterwards it could be another's.
            path.unlink(missing_ok=True)
            os.close(descriptor)

        return let_go


def _locked(path: Path) -> int | None:
    """The descriptor of the file, locked; None where another has it."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another may have let go, and removed the file, between the two.
        if os.fstat(descriptor).st_nlink:
            return descriptor
    except BlockingIOError:
        pass
    except OSError:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None
