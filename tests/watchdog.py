"""Servers never outlive the Python process that started them, however that ends.

Run as a script, this file is the watchdog: it is told process ids, a line each, and once nobody is
left who could tell it more, it kills those processes and their children.
"""

import atexit
import functools
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil


def watch(pid: int) -> None:
    """Has that process and its children killed when this one has ended, if they still run."""
    channel = _watchdog().stdin
    assert channel
    channel.write(f"{pid}\n".encode())
    channel.flush()


def kill_family(root: psutil.Process) -> None:
    """Kills a process and its children; nothing happens if it is gone."""
    # The parent must not answer the death of a child by starting another.
    _signal(root, signal.SIGSTOP)
    family = signal_family(root, signal.SIGKILL)
    # Dead is enough: in a container it may take the first process a second to collect an orphan.
    while any(_lives(process) for process in family):
        time.sleep(0.005)


def signal_family(root: psutil.Process, number: signal.Signals) -> list[psutil.Process]:
    """Sends a signal to a process and its children, and returns them, the parent first."""
    try:
        family = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
    for process in family:
        _signal(process, number)
    return family


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    # psutil knows a process by its start too, so that a number used again hits no stranger.
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


@functools.cache
def _watchdog() -> subprocess.Popen[bytes]:
    # A session of its own keeps the terminal's Ctrl-C away.
    popen = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, start_new_session=True
    )
    atexit.register(popen.communicate)
    return popen


def _main() -> None:
    watched = []
    for line in sys.stdin:
        with suppress(psutil.NoSuchProcess):
            watched.append(psutil.Process(int(line)))
    for process in watched:
        kill_family(process)


if __name__ == "__main__":
    _main()
