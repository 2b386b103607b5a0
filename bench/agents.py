"""Measures `customer-certificates sync`: by itself.

python -m bench.agents --certificates 100000
"""

import os
import subprocess
import tempfile
from argparse import ArgumentParser
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from time import monotonic, sleep

import httpx
from cryptography import x509

from customer_certificates.client.sync.status import read
from tests.agents import EDGES, RunningAgent, start_edge
from tests.factories import a_user
from tests.pki.authority import NOW, a_leaf
from tests.resources import an_upload_of
from tests.service import COMMAND, environment
from tests.terminators import fingerprint

from . import services
from .terminators import fill

_WWW = "www.example.com"
_FORMATS = ("nginx", "haproxy", "pem")


def main() -> None:
    parser = ArgumentParser(prog="python -m bench.agents", description=__doc__)
    parser.add_argument("--certificates", type=int, default=100_000)
    parser.add_argument("--renewals", type=int, default=15)
    parser.add_argument("--formats", nargs="*", default=_FORMATS)
    options = parser.parse_args()
    for number in (1, options.certificates):
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            folder.chmod(0o755)
            url = _service(folder, number, stack)
            if number == 1:
                for kind in EDGES:
                    _renew(kind, url, folder, options.renewals)
            else:
                for kind in options.formats:
                    _sync(kind, url, folder / f"out-{kind}")


def _service(folder: Path, number: int, stack: ExitStack) -> str:
    ours, _ = services.start_filled(stack, folder, lambda url: fill(folder, url, number))
    return ours.url


def _renew(kind: str, url: str, folder: Path, times: int) -> None:
    """From the answer to a renewal until a new connection is served it."""
    with ExitStack() as stack, httpx.Client(base_url=url, timeout=30) as client:
        edge = start_edge(kind, url, folder, stack)
        user = client.post("/users", json=a_user()).raise_for_status().json()["id"]
        path = f"/users/{user}/certificates"
        leaf = _a_leaf()
        sent = an_upload_of(leaf, active=True)
        path = client.post(path, json=sent).raise_for_status().headers["Location"]
        seconds = []
        for _ in range(times):
            edge.terminator.wait_for(_WWW, fingerprint(leaf))
            sleep(3)  # each by itself
            leaf = _a_leaf()
            client.put(path, json=an_upload_of(leaf)).raise_for_status()
            began = monotonic()
            while edge.terminator.served(_WWW) != fingerprint(leaf):
                sleep(0.005)
            seconds.append(monotonic() - began)
        client.delete(path).raise_for_status()
    print(
        f"{kind}: from commit to served {median(seconds):.2f} s (median of {times}), "
        f"{max(seconds):.2f} s at most"
    )


def _sync(kind: str, url: str, out: Path) -> None:
    """Everything from nothing, then one change."""
    began = monotonic()
    process = subprocess.Popen(
        [COMMAND, "sync", "--format", kind, "--out", str(out), "--server", url, "--once"],
        env=environment({}),
    )
    _, status, used = os.wait4(process.pid, 0)
    seconds = monotonic() - began
    if status:
        raise RuntimeError(f"sync ended with {status}")
    served = read(out).served
    print(
        f"{kind}: {served:,} certificates from nothing in {seconds:.1f} s "
        f"({used.ru_utime + used.ru_stime:.1f} s of CPU), {used.ru_maxrss / 1024:.0f} MB at most"
    )
    agent = RunningAgent(out, url, "--format", kind)
    try:
        agent.wait_for(lambda found: found.is_current)
        memory = agent.process.memory_info().rss / 1e6
        with httpx.Client(base_url=url) as client:
            active = "/users/1/certificates/1/active"
            client.patch(active, json={"active": False}).raise_for_status()
            agent.wait_for(lambda found: found.is_current and found.served == served - 1)
            sleep(3)  # by itself
            client.patch(active, json={"active": True}).raise_for_status()
            began = monotonic()
            agent.wait_for(lambda found: found.is_current and found.served == served)
        print(f"{kind}: one change after it in {monotonic() - began:.2f} s; {memory:.0f} MB")
    finally:
        agent.stop()


def _a_leaf() -> x509.Certificate:
    return a_leaf(_WWW, _WWW, end=datetime.now(UTC) + timedelta(days=90) - NOW)


if __name__ == "__main__":
    main()
