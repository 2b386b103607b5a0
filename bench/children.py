"""The cost of the sandbox for an upload, and of hostile keys for other uploads."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import certifi
import httpx
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from customer_certificates.gateways.sandbox.pool import SandboxPool
from customer_certificates.pki.submission import Submission
from customer_certificates.pki.validation import Request, Validator, encode
from tests import hostile
from tests.factories import a_pair
from tests.pki import authority
from tests.servers import Server

from . import load, services
from .workloads import ONE_USER

_CALLS = 300
_HOSTILE_AT_ONCE = 20
# The attackers' own work is not to be what others wait for.
_PAUSE_SECONDS = 0.5


def cost(rounds: int) -> str:
    """Milliseconds that a child takes for a sound upload, as medians; and how many of them are the
    examination itself."""
    lines = []
    for title, most, request, roots in _sound_uploads():
        children = SandboxPool(Validator, roots, size=2, on_exit=lambda _: None)
        validator = Validator(roots)
        children.run(request)
        there, here = list[float](), list[float]()
        for _ in range(rounds):
            there.append(_milliseconds(children.run, request))
            here.append(_milliseconds(validator, request))
        children.close()
        lines.append(
            f"a child adds to an upload of {title}: {median(there):.2f} ms (to be at most {most}), "
            f"of which the examination is {median(here):.2f}"
        )
    return "\n".join(lines)


def _sound_uploads() -> Iterator[tuple[str, float, bytes, bytes]]:
    """Each with a title, the most milliseconds it is to take, the request, and the roots."""
    public = Path(certifi.where()).read_bytes()
    for kind, most in {"P-256": 0.6, "RSA-2048": 3.0}.items():
        pair = a_pair(key=kind)
        material = Submission(body=pair.body, private_key=pair.key_pem)
        yield kind, most, encode(Request(material, datetime.now(UTC))), public
    issued = [
        authority.issue("www.example.com", "Issuing", hostnames=["www.example.com"]),
        authority.issue("Issuing", "Root", ca=True),
        authority.issue("Root", "Root", ca=True),
    ]
    leaf, issuing, root = (one.public_bytes(Encoding.PEM) for one in issued)
    key = authority.ec_key("www.example.com").private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    material = Submission(body=(leaf + issuing).decode(), private_key=key)
    title = "P-256 with its chain to a public root"
    yield title, 0.6, encode(Request(material, authority.NOW)), root


def under_attack(server: Server, rounds: int, seconds: int) -> str:
    """p99 of reads, and the memory of all processes, with and without hostile uploads; by turns."""
    read = ONE_USER
    quiet, attacked, memory = list[float](), list[float](), list[float]()
    refused: list[int] = []
    before = services.memory(server)[1]
    for _ in range(rounds):
        quiet.append(load.wrk(server.url, read, seconds).p99)
        with _attackers(server.url, refused):
            attacked.append(load.wrk(server.url, read, seconds).p99)
            memory.append(services.memory(server)[1])
    statuses = {status: refused.count(status) for status in sorted(set(refused))}
    return (
        f"p99 of {read.title}: {median(quiet):.1f} ms; while {_HOSTILE_AT_ONCE} hostile keys are "
        f"uploaded at once, {median(attacked):.1f} ms (to rise by less than 50); answers {statuses}"
        f"\nmemory (PSS) of all processes: {before:.0f} MB; under attack {max(memory):.0f} MB"
    )


class _attackers:  # noqa: N801 - a context
    """Uploads hostile keys to a service, twenty at once twice a second, until the block ends."""

    def __init__(self, url: str, statuses: list[int]) -> None:
        self._url = f"{url}/users/1/certificates"
        self._statuses = statuses
        self._ended = threading.Event()
        self._threads = ThreadPoolExecutor(_HOSTILE_AT_ONCE)

    def __enter__(self) -> None:
        for upload in hostile.uploads():
            self._threads.submit(self._attack, json.dumps(upload))

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._threads.shutdown()

    def _attack(self, body: str) -> None:
        with httpx.Client(timeout=60) as client:
            while not self._ended.is_set():
                answer = client.post(
                    self._url, content=body, headers={"Content-Type": "application/json"}
                )
                self._statuses.append(answer.status_code)
                self._ended.wait(_PAUSE_SECONDS)


def _milliseconds(call: Callable[[bytes], object], request: bytes) -> float:
    taken = []
    for _ in range(_CALLS):
        start = time.perf_counter()
        call(request)
        taken.append(time.perf_counter() - start)
    return median(taken) * 1000
