"""A service with the feed for terminators, without a database."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ...terminators import fingerprint
from ..stub import serving

Entry = dict[str, Any]


class FeedStub:
    """Entries by certificate id, and the order in which they changed.

    `token`: what must be shown, if anything. `status`: what every request is answered instead;
    `report_status`: what reports are.
    `forget` makes all cursors too old. `asked` are the cursors of all requests, `reports` what
    agents said.
    """

    def __init__(self) -> None:
        self.url = ""
        self.token = ""
        self.status = self.report_status = 0
        self.asked: list[str] = []
        self.reports: list[dict[str, Any]] = []
        self._entries: dict[int, bytes] = {}
        self._log: list[int] = []
        self._oldest = 0
        self._changed = threading.Condition()

    def put(self, *entries: Entry) -> None:
        """Adds or changes certificates."""
        with self._changed:
            for entry in entries:
                self._entries[entry["certificate_id"]] = json.dumps(entry).encode()
                self._log.append(entry["certificate_id"])
            self._changed.notify_all()

    def remove(self, *certificate_ids: int) -> None:
        with self._changed:
            for number in certificate_ids:
                del self._entries[number]
                self._log.append(number)
            self._changed.notify_all()

    def forget(self) -> None:
        with self._changed:
            self._oldest = len(self._log) + 1
            self._log.append(0)

    def feed(self, since: str, wait: float, limit: int) -> bytes:
        deadline = time.monotonic() + wait
        with self._changed:
            self.asked.append(since)
            kind, _, place = since.partition("-")
            if kind == "changes" and int(place) >= self._oldest:
                while int(place) == len(self._log) and time.monotonic() < deadline:
                    self._changed.wait(deadline - time.monotonic())
                numbers = self._log[int(place) : int(place) + limit]
                end = int(place) + len(numbers)
                more, reset, cursor = end < len(self._log), False, f"changes-{end}"
            else:
                # A snapshot goes by id; what changes meanwhile follows after it.
                begun, after = map(int, place.split(".")) if kind == "all" else (len(self._log), 0)
                found = sorted(number for number in self._entries if number > after)
                numbers, more, reset = found[:limit], len(found) > limit, kind != "all"
                cursor = f"all-{begun}.{numbers[-1]}" if more else f"changes-{begun}"
            changes = b",".join(self._entry(number) for number in numbers if number)
        head = json.dumps({"cursor": cursor, "more": more, "reset": reset})[:-1].encode()
        return head + b', "changes": [' + changes + b"]}"

    def _entry(self, number: int) -> bytes:
        gone = {"certificate_id": number, "user_id": 1, "active": False}
        return self._entries.get(number) or json.dumps(gone).encode()


@contextmanager
def a_feed(earlier: FeedStub | None = None, port: int = 0) -> Iterator[FeedStub]:
    """A FeedStub that serves until the end of the block; `earlier` serves again."""
    stub = earlier or FeedStub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self._is_refused():
                return
            query = {
                name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()
            }
            since, wait, limit = query.get("since", ""), query["wait"], query["limit"]
            self._answer(200, stub.feed(since, float(wait), int(limit)))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not self._is_refused(stub.report_status):
                stub.reports.append(json.loads(body))
                self._answer(204, b"")

        def _is_refused(self, status: int = 0) -> bool:
            shown = self.headers.get("Authorization", "").removeprefix("Bearer ")
            status = status or stub.status or (0 if shown == stub.token else 401)
            if status:
                self._answer(status, b'{"detail": "Not like this."}')
            return bool(status)

        def _answer(self, status: int, content: bytes) -> None:
            self.send_response(status)
            if status != 204:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object, **__: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True  # they may be waiting for a change that does not come

        def handle_error(self, *_: object, **__: object) -> None:
            """An agent that ended while it waited."""

    with Server(("127.0.0.1", port), Handler) as server:
        stub.url = f"http://127.0.0.1:{server.server_port}"
        with serving(server):
            yield stub


def entry(
    number: int, leaf: x509.Certificate, key: CertificateIssuerPrivateKeyTypes, **changes: Any
) -> Entry:
    """The feed's entry for an active certificate."""
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    pem = leaf.public_bytes(Encoding.PEM).decode()
    return {
        "certificate_id": number,
        "user_id": 1,
        "version": 1,
        "active": True,
        "hostnames": names.get_values_for_type(x509.DNSName),
        "not_before": f"{leaf.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}",
        "not_after": f"{leaf.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        "trust": "self_signed",
        "key_type": "rsa" if isinstance(key, rsa.RSAPrivateKey) else "ecdsa",
        "fingerprint_sha256": fingerprint(leaf),
        "chain_pem": pem,
        "private_key_pem": key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        ).decode(),
        **changes,
    }
