"""The memory of a process that holds keys is not written to a disk when it crashes."""

import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4


def forbid_dumps() -> None:
    """For this process and those that it forks: no core file, and on Linux no look into its memory
    by others of the same account (which also ends what core_pattern pipes to a collector)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0)
