"""Prevents core dumps of processes that hold keys."""

import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4


def forbid_dumps() -> None:
    """Disables core dumps for this process and its children.

    On Linux, also prevents other processes of the account from reading the memory. This disables
    collectors in core_pattern too.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0)
