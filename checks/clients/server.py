"""A TLS server with a certificate for each name, and the page that has a browser ask them all."""

import json
import ssl
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import SimpleQueue

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.differential.generator import pem

from .variants import Variant

_PAGE = """<!doctype html><title>Client check</title><script>
(async () => {
  const results = {};
  for (const host of HOSTS) {
    try {
      await fetch("https://" + host + ":PORT/", {mode: "no-cors", cache: "no-store"});
      results[host] = true;
    } catch (error) { results[host] = false; }
  }
  await fetch("/results", {method: "POST", body: JSON.stringify(results)});
})();
</script>"""


class Servers:
    """Both servers, on ports of their own, until `close`."""

    def __init__(self, variants: Sequence[Variant], folder: Path) -> None:
        self.unloadable: set[str] = set()
        self._contexts = {}
        for one in variants:
            try:
                self._contexts[one.hostname] = _context(one, folder)
            except ssl.SSLError:
                self.unloadable.add(one.hostname)
        self._tls = _Server(("127.0.0.1", 0), _Answer)
        outer = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        outer.sni_callback = self._choose
        self._tls.socket = outer.wrap_socket(
            self._tls.socket, server_side=True, do_handshake_on_connect=False
        )
        self.port = self._tls.server_port
        self._results: SimpleQueue[dict[str, bool]] = SimpleQueue()
        self._page = _Server(("127.0.0.1", 0), self._handler(list(self._contexts)))
        self.page = f"http://127.0.0.1:{self._page.server_port}/"
        for server in (self._tls, self._page):
            threading.Thread(target=server.serve_forever, daemon=True).start()

    def results(self, seconds: float) -> dict[str, bool]:
        """The report of the browser at the page: for each hostname, whether it connected."""
        return self._results.get(timeout=seconds)

    def close(self) -> None:
        for server in (self._tls, self._page):
            server.shutdown()
            server.server_close()

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if name in self._contexts:
            connection.context = self._contexts[name]

    def _handler(self, hosts: list[str]) -> type[BaseHTTPRequestHandler]:
        page = _PAGE.replace("HOSTS", json.dumps(hosts)).replace("PORT", str(self.port))
        results = self._results

        class Page(_Answer):
            content = page.encode()

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                results.put(json.loads(self.rfile.read(length)))
                self.do_GET()

        return Page


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object, **__: object) -> None:
        """Prints nothing: a client that refuses a certificate is what is looked for."""


class _Answer(BaseHTTPRequestHandler):
    content = b"hello"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_: object, **__: object) -> None:
        """Prints nothing: the browser at the page reports."""


def _context(variant: Variant, folder: Path) -> ssl.SSLContext:
    file = folder / f"{variant.hostname}.pem"
    key = variant.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_text("".join(map(pem, variant.chain)) + key.decode())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.load_cert_chain(file)
    return context
