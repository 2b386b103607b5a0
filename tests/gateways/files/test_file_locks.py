"""Locks by name, between threads and processes."""

import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from customer_certificates.gateways.files.file_locks import FileLocks

_HOLDER = """
import sys, time
from pathlib import Path
from customer_certificates.gateways.files.file_locks import FileLocks
assert FileLocks(Path(sys.argv[1])).acquire("name", 0)
print("held", flush=True)
time.sleep(60)
"""


def test_one_thread_at_a_time_holds_the_lock(tmp_path: Path) -> None:
    """A holder removes the file, maybe after another has opened it."""
    inside: list[int] = []
    most: list[int] = []
    turns = 50
    start = threading.Barrier(4)

    def take(number: int) -> None:
        names = FileLocks(tmp_path / "running")
        start.wait()
        for _ in range(turns):
            let_go = names.acquire("name", 30)
            assert let_go
            inside.append(number)
            most.append(len(inside))
            inside.remove(number)
            let_go()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(take, range(4)))
    assert most == [1] * 4 * turns
    assert list((tmp_path / "running").iterdir()) == []


def test_a_lock_of_another_process_is_free_when_it_dies(tmp_path: Path) -> None:
    names = FileLocks(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path)], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        assert names.acquire("name", 0) is None
        assert names.acquire("another", 0) is not None
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert names.acquire("name", 0) is not None
