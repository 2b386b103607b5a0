"""No process that may hold a key can dump its memory, or be traced."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

from customer_certificates.gateways.master_keys import MasterKeys

from ..cli.test_keys import fill
from ..conftest import Backend
from ..factories import a_user, an_upload
from ..service import COMMAND, Service, environment
from ..test_idempotency import until

# The files in /proc of a process that may be dumped belong to its account and group, those of one
# that may not to root's.
_GROUP = 65534
_IN_GROUP = f"""
import os, sys
if os.geteuid() == 0:
    os.setgid({_GROUP})
os.execv(sys.argv[1], sys.argv[1:])
"""
_AS_ITS_OWN = [sys.executable, "-c", _IN_GROUP]


def can_be_dumped(pid: int) -> bool:
    """Whether the kernel allows a dump (core(5); PR_SET_DUMPABLE in proc(5))."""
    memory = os.stat(f"/proc/{pid}/mem")
    return memory.st_gid == _GROUP if os.geteuid() == 0 else memory.st_uid == os.geteuid()


def largest_core(pid: int) -> list[str]:
    """The soft and the hard limit."""
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    (core,) = (line.split() for line in limits if line.startswith("Max core file size"))
    return core[4:6]


def require_closed(pid: int) -> None:
    assert largest_core(pid) == ["0", "0"]
    assert not can_be_dumped(pid)


def test_dumpable_processes_are_detected() -> None:
    with subprocess.Popen([*_AS_ITS_OWN, sys.executable, "-c", "input()"], stdin=-1) as process:
        until(lambda: can_be_dumped(process.pid))
        process.communicate(b"\n")


@pytest.mark.one_backend
def test_no_process_of_the_service_can_be_dumped(
    backend: Backend, engine: sa.Engine, folder: Path
) -> None:
    """The first one, the workers, and the children that examine; only the fork server, which forks
    those and is given no key, may be looked into."""
    log = folder / f"no-dumps-{backend.name}.log"
    service = Service(backend.settings, log, [*_AS_ITS_OWN, COMMAND, "serve"])
    try:
        with service.client() as client:
            user = client.post("/users", json=a_user()).headers["Location"]
            client.post(f"{user}/certificates", json=an_upload()).raise_for_status()
        workers = service.workers()
        fork_servers = service.fork_servers()
        children = [one for fork_server in fork_servers for one in fork_server.children()]
        assert workers
        assert children
        for process in [psutil.Process(service.popen.pid), *workers, *children]:
            require_closed(process.pid)
        for process in fork_servers:
            assert largest_core(process.pid) == ["0", "0"]
    finally:
        service.stop()


@contextmanager
def silent() -> Iterator[tuple[str, socket.socket]]:
    """A server of master keys that never responds: its URL and its socket."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"transit:http://127.0.0.1:{server.getsockname()[1]}/key", server


@pytest.mark.one_backend
def test_a_command_that_holds_keys_cannot_be_dumped(
    backend: Backend, engine: sa.Engine, master_keys: MasterKeys
) -> None:
    """Checks a command that waits for a master key, with a data key in its memory."""
    fill(engine, master_keys, 1)
    with silent() as (address, server):
        settings = {
            **backend.settings,
            "CC_MASTER_KEY": address,
            "CC_PREVIOUS_MASTER_KEYS": f"file:{backend.config().master_key.where}",
            "CC_TRANSIT_TOKEN": "nobodys",
        }
        process = subprocess.Popen(
            [*_AS_ITS_OWN, COMMAND, "keys", "rewrap"],
            env=environment(settings),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            server.settimeout(30)
            connection_of_it, _ = server.accept()
            with connection_of_it:
                connection_of_it.recv(1)
                require_closed(process.pid)
        finally:
            process.kill()
            process.wait()
