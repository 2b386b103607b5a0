"""Locks by name on one host, for a database without row locks."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from .. import loop

_RETRY_SECONDS = 0.02


class FileLocks:
    """Locks names with a lock on a file for each.

    The kernel releases the locks of a process that dies. Its file remains, empty, until the name is
    locked again.
    """

    def __init__(self, folder: Path) -> None:
        """`folder` is created for this account alone."""
        self._folder = folder

    def acquire(self, name: str, seconds: float) -> Callable[[], None] | None:
        """Locks `name`, and returns a function that releases it.

        Returns None if another holder does not release it within `seconds`. Raises OSError.
        """
        self._folder.mkdir(mode=0o700, exist_ok=True)
        path = self._folder / name
        deadline = monotonic() + seconds
        while (descriptor := _lock(path)) is None:
            if monotonic() > deadline:
                return None
            loop.sleep(_RETRY_SECONDS)

        def release() -> None:
            # Removed while locked: afterwards the file could belong to another holder.
            path.unlink(missing_ok=True)
            os.close(descriptor)

        return release


def _lock(path: Path) -> int | None:
    """Returns the descriptor of the locked file; None if another holder has it."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another holder may have released and removed the file between the two calls.
        if os.fstat(descriptor).st_nlink:
            return descriptor
    except BlockingIOError:
        pass
    except OSError:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None
