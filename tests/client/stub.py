"""A service that can be made to fail."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

Answer = tuple[int, dict[str, str], Any]


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    """Serves until the end of the block."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


class Stub:
    """The routes that an import needs, for user 1.

    `before` and `after` are called with each request's method and path, before and after it is
    carried out; what they return is answered instead. LOST as an answer is none at all. A page of
    the list has `page` certificates at most, as if they were large.
    """

    LOST: Answer = (0, {}, None)

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[str] = []
        self.authorizations: list[str | None] = []
        self.stored: list[dict[str, Any]] = []
        self.page = 1000
        self.before: Callable[[str, str], Answer | None] = lambda method, path: None
        self.after: Callable[[str, str], Answer | None] = lambda method, path: None
        self._lock = threading.Lock()

    def answer(self, method: str, path: str, payload: Any) -> Answer:
        with self._lock:
            self.asked.append(f"{method} {path.partition('?')[0]}")
            if instead := self.before(method, path):
                return instead
            answer = self._carry_out(method, path, payload)
            return self.after(method, path) or answer

    def _carry_out(self, method: str, path: str, payload: Any) -> Answer:
        base, _, query = path.partition("?")
        _, _, fingerprint = query.partition("fingerprint=")
        match method, base.removeprefix("/users/1").split("/")[1:]:
            case "GET", ["certificates"] if fingerprint:
                found = [one for one in self.stored if one["fingerprint_sha256"] == fingerprint]
                return 200, {}, found
            case "GET", ["certificates"]:
                after = int(parse_qs(query)["after"][0])
                following = [one for one in self.stored if one["id"] > after]
                return 200, {}, following[: self.page]
            case "PUT", ["certificates", number]:
                self.stored = [self._certificate(payload) | {"id": int(number), "active": True}]
                return 200, {}, self.stored[0]
            case "POST", ["certificates"]:
                self.stored.append(self._certificate(payload))
                return 201, {}, self.stored[-1]
            case "PATCH", ["certificates", number, "active"]:
                return 202, {}, {"id": int(number), "active": True}
            case "DELETE", ["certificates", number]:
                self.stored = [one for one in self.stored if one["id"] != int(number)]
                return 204, {}, None
        return 200, {}, {"id": 1}

    def _certificate(self, payload: Any) -> dict[str, Any]:
        certificate = x509.load_pem_x509_certificate(payload["body"].encode())
        return {
            "id": len(self.asked),
            "active": False,
            "fingerprint_sha256": sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
            "trust": "private",
            "findings": [],
        }


@contextmanager
def a_stub(pair: Path | None = None) -> Iterator[Stub]:
    """A Stub that serves until the end of the block; over HTTPS with the PEM file `pair`."""
    stub = Stub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            stub.authorizations.append(self.headers.get("Authorization"))
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers, answer = stub.answer(
                self.command, self.path, json.loads(body) if body else None
            )
            if status == 0:
                self.close_connection = True
                return
            content = b"" if status == 204 else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815

        def log_message(self, *_: object, **__: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        stub.url = f"http://127.0.0.1:{server.server_port}"
        if pair:
            stub.url = f"https://localhost:{server.server_port}"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pair)
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        with serving(server):
            yield stub
