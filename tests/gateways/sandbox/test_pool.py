"""Time, memory, crashes and results of a sandbox process cannot hurt the worker."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

from customer_certificates.errors import TooManyRequests, Unavailable
from customer_certificates.gateways.sandbox import pool as module
from customer_certificates.gateways.sandbox.pool import ResourceLimitExceeded, SandboxPool

from ..admission.test_limiter import as_tenant
from .costly_work import prepare, prepare_where_there_is

_WAIT_SECONDS = 30
_CPU_SECONDS = 0.2


class Pool(SandboxPool):
    """A pool that runs the functions of costly_work.py, and counts the exit reasons."""

    def __init__(self, size: int = 2) -> None:
        self.reasons: Counter[str] = Counter()
        super().__init__(
            prepare, b"roots", size=size, on_exit=lambda reason: self.reasons.update([reason])
        )

    def pids(self) -> set[int]:
        """The ids of all processes: the fork server and its children."""
        fork_server = self.fork_server()
        return {fork_server.pid, *(child.pid for child in fork_server.children())}

    def fork_server(self) -> psutil.Process:
        parent = psutil.Process(int(self.run(b"pid"))).parent()
        assert parent
        return parent


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CPU_SECONDS", _CPU_SECONDS)


@pytest.fixture
def pool(impatient: None) -> Iterator[Pool]:
    with closing(Pool()) as made:
        yield made


def test_each_request_gets_its_own_answer(pool: Pool) -> None:
    requests = [b"echo " + str(number).encode() * number for number in range(400)]

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(pool.run, requests))

    assert [b"echo " + answer for answer in answers] == requests
    assert not pool.reasons


@pytest.mark.parametrize("size", [0, 1, 65_532, 65_536, 5_000_000])
def test_messages_of_any_size_pass(pool: Pool, size: int) -> None:
    message = os.urandom(size)

    assert pool.run(b"echo " + message) == message


def test_the_work_is_prepared_with_the_data(pool: Pool) -> None:
    assert pool.run(b"prepared") == b"roots"


@pytest.mark.parametrize("request_", [b"count_for_ever", b"hold_the_interpreter"])
def test_a_request_with_too_much_cpu_time_exceeds_its_limits(pool: Pool, request_: bytes) -> None:
    with pytest.raises(ResourceLimitExceeded):
        pool.run(request_)

    assert pool.reasons == {"cpu": 1}
    assert len(_lasting(pool)) == 2


def test_each_request_has_the_whole_cpu_time(pool: Pool) -> None:
    """The CPU time of earlier requests does not count."""
    child = pool.run(b"pid")

    for _ in range(3):
        assert pool.run(b"work_for 0.1") == child


@pytest.mark.parametrize("request_", [b"work_for 0.15", b"count_for_ever"])
def test_a_tenant_has_a_budget_of_cpu_time(
    impatient: None, monkeypatch: pytest.MonkeyPatch, request_: bytes
) -> None:
    monkeypatch.setattr(module, "_CPU_SECONDS_A_MINUTE", 0.1)
    with closing(Pool(size=1)) as pool:
        with as_tenant("a"):
            with suppress(ResourceLimitExceeded):
                pool.run(request_)
            with pytest.raises(TooManyRequests) as refusal:
                pool.run(b"pid")
        with as_tenant("b"):
            pool.run(b"pid")

    assert 1 <= (refusal.value.retry_after or 0) <= 60


def test_sandbox_processes_have_a_lower_priority(pool: Pool) -> None:
    here = psutil.Process().nice()

    assert [child.nice() for child in _lasting(pool)] == [min(19, here + 5)] * 2


@pytest.mark.parametrize(
    ("request_", "ending"),
    [
        (b"fill_memory", "memory"),
        (b"take_memory 256", "memory"),
        (b"abort", "crash"),
        (b"read_nowhere", "crash"),
    ],
)
def test_a_request_that_kills_two_processes_exceeds_its_limits(
    pool: Pool, request_: bytes, ending: str
) -> None:
    with pytest.raises(ResourceLimitExceeded):
        pool.run(request_)

    assert pool.reasons == {ending: 2}
    assert len(_lasting(pool)) == 2


def test_memory_held_by_an_earlier_request_is_not_blamed_on_the_next(impatient: None) -> None:
    with closing(Pool(size=1)) as pool:
        pool.run(b"hoard_memory 150")

        assert pool.run(b"take_memory 150") == str(150 * 1024 * 1024).encode()
        assert pool.reasons == {"memory": 1}


@pytest.mark.parametrize("request_", [b"be_killed", b"leave"])
def test_a_request_whose_processes_are_killed_is_not_to_blame(pool: Pool, request_: bytes) -> None:
    with pytest.raises(Unavailable) as refusal:
        pool.run(request_)

    assert refusal.value.retry_after == 1
    assert pool.reasons == {"killed": 2}
    assert len(_lasting(pool)) == 2


def test_killed_processes_are_replaced_without_an_error(pool: Pool) -> None:
    before = _lasting(pool)
    for child in before:
        child.kill()

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(pool.run, [b"echo 1", b"echo 2"])) == [b"1", b"2"]

    killed = {child.pid for child in before}
    _until(lambda: len(_both_at_once(pool) - killed) == 2)
    assert pool.reasons == {"killed": 2}


@pytest.mark.parametrize("with_template", [False, True])
def test_a_killed_fork_server_is_replaced_without_an_error(pool: Pool, with_template: bool) -> None:
    pids = pool.pids()
    fork_server = pool.fork_server()
    template = fork_server.parent()
    assert template
    if with_template:
        template.kill()
    fork_server.kill()

    _until(lambda: not any(map(_lives, pids)))
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(pool.run, [b"echo 1", b"echo 2"])) == [b"1", b"2"]


@pytest.mark.parametrize("request_", [b"fail hunter2", b"fail_after hunter2"])
def test_a_defect_is_reported_without_its_message(pool: Pool, request_: bytes) -> None:
    child = pool.run(b"pid")

    with pytest.raises(RuntimeError) as error:
        pool.run(request_)

    assert f"costly_work.py:{prepare.__code__.co_firstlineno + 6} in prepare" in str(error.value)
    assert "hunter2" not in str(error.value)
    assert error.value.__cause__ is error.value.__context__ is None
    assert pool.run(b"pid") == child


def test_a_process_that_never_responds_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 0.2)
    with closing(Pool()) as pool:
        with pytest.raises(Unavailable):
            pool.run(b"sleep")

        assert pool.reasons == {"timeout": 1}
        assert len(_lasting(pool)) == 2


@pytest.mark.parametrize("request_", [b"open_file", b"open_socket", b"open_after_closing"])
def test_a_sandbox_process_can_open_nothing(pool: Pool, request_: bytes) -> None:
    assert pool.run(request_) == str(errno.EMFILE).encode()


def test_a_sandbox_process_inherits_no_descriptors(
    impatient: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Otherwise a port or a database connection would stay open while a process runs."""
    monkeypatch.setenv("CC_MASTER_KEY", "hunter2")
    with socket.socket() as listener, (tmp_path / "file").open("w") as file:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.set_inheritable(True)
        os.set_inheritable(file.fileno(), True)
        with closing(Pool()) as pool:
            # The standard three are /dev/null; the socket is its pipe.
            assert sorted(json.loads(pool.run(b"descriptors"))) == ["device"] * 3 + ["socket"]
            assert set(json.loads(pool.run(b"environment"))) <= {"HOME", "LC_CTYPE"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_requests_are_validated_during_the_shutdown(pool: Pool, number: signal.Signals) -> None:
    """Ctrl-C and `systemctl stop` signal every process."""
    pids = pool.pids()
    for process in pids:
        os.kill(process, number)

    assert pool.run(b"echo 1") == b"1"
    assert pool.pids() == pids
    assert not pool.reasons


def test_fork_servers_share_one_template(pool: Pool) -> None:
    with closing(Pool()) as other:
        assert pool.fork_server().parent() == other.fork_server().parent()
        assert pool.fork_server() != other.fork_server()


def test_no_process_outlives_close(impatient: None) -> None:
    pool = Pool()
    pids = pool.pids()

    pool.close()

    _until(lambda: not any(map(_lives, pids)))
    with pytest.raises(Unavailable):
        pool.run(b"echo 1")


def test_no_process_outlives_a_worker_that_is_killed() -> None:
    """One process works, one is idle."""
    script = (
        "from threading import Thread\n"
        "from tests.gateways.sandbox.test_pool import Pool\n"
        "pool = Pool()\n"
        "print(*pool.pids(), flush=True)\n"
        "Thread(target=pool.run, args=[b'sleep']).start()\n"
        "pool.run(b'sleep')\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    with worker:
        assert worker.stdout
        pids = [int(word) for word in worker.stdout.readline().split()]
        assert len(pids) == 3
        worker.kill()

    _until(lambda: not any(map(_lives, pids)))


def test_processes_that_cannot_start_are_retried_after_a_delay(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_RETRY_SECONDS", 3600)
    roots = tmp_path / "roots.pem"
    pool = SandboxPool(prepare_where_there_is, str(roots).encode(), size=2, on_exit=print)
    with closing(pool):
        for _ in range(3):
            with pytest.raises(Unavailable):
                pool.run(b"echo 1")

    assert len(caplog.records) == 1
    assert "FileNotFoundError" in caplog.text


def test_processes_start_when_they_can(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0)
    roots = tmp_path / "roots.pem"
    pool = SandboxPool(prepare_where_there_is, str(roots).encode(), size=2, on_exit=print)
    with closing(pool):
        with pytest.raises(Unavailable):
            pool.run(b"echo 1")

        roots.touch()

        assert pool.run(b"echo 1") == b"1"


def _lasting(pool: Pool) -> list[psutil.Process]:
    """The fork server's children; none is a zombie."""
    children = pool.fork_server().children()
    assert psutil.STATUS_ZOMBIE not in {child.status() for child in children}
    return children


def _both_at_once(pool: Pool) -> set[int]:
    """The process IDs of two concurrent requests, which run in different processes."""
    with ThreadPoolExecutor(2) as threads:
        return set(map(int, threads.map(pool.run, [b"work_for 0.02"] * 2)))


def _lives(pid: int) -> bool:
    # An orphan waits for the first process of its container to collect it.
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)
