"""Real servers that terminate TLS, fed by the service, and handshakes with them."""

import hashlib
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from .servers import Server, free_port

_BINARIES = Path(sys.executable).parent


def accepts_all() -> ssl.SSLContext:
    """A client's TLS context that accepts any certificate. Unlike the default one it reads no CA
    certificates, which takes longer than a handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


_ACCEPTS_ALL = accepts_all()


class Terminator:
    """A running server; `port` is where it speaks TLS."""

    def __init__(self, server: Server, port: int) -> None:
        self._server = server
        self.port = port

    def served(self, hostname: str | None) -> str | None:
        """The SHA-256 of the certificate that it serves for `hostname`; None: it serves none.

        Without a hostname, the client sends none.
        """
        try:
            with (
                socket.create_connection(("127.0.0.1", self.port), 10) as plain,
                _ACCEPTS_ALL.wrap_socket(plain, server_hostname=hostname) as secured,
            ):
                der = secured.getpeercert(binary_form=True)
        except (ssl.SSLError, ConnectionError):
            return None
        return hashlib.sha256(der or b"").hexdigest()

    def shown_by_openssl(self, hostname: str) -> str | None:
        """The same, as `openssl s_client` sees it."""
        target = f"127.0.0.1:{self.port}"
        ended = subprocess.run(
            ["openssl", "s_client", "-connect", target, "-servername", hostname],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
            check=False,
        )
        if b"BEGIN CERTIFICATE" not in ended.stdout:
            return None
        return fingerprint(x509.load_pem_x509_certificate(ended.stdout))

    def wait_for(self, hostname: str | None, expected: str) -> None:
        """Returns once it serves `expected` for `hostname`, ten times in a row."""
        self._wait(hostname, lambda found: found == expected, in_a_row=10)

    def wait_for_any(self, hostname: str) -> None:
        """Returns once it serves something for `hostname`."""
        self._wait(hostname, bool)

    def wait_for_openssl(self, hostname: str, expected: str) -> None:
        """Returns once `openssl s_client` sees that served."""
        self._wait(hostname, lambda _: self.shown_by_openssl(hostname) == expected)

    def wait_for_end(self, hostname: str, *before: str) -> None:
        """Returns once it serves none of `before` for `hostname`, ten times in a row."""
        self._wait(hostname, lambda found: found not in before, in_a_row=10)

    def _wait(
        self, hostname: str | None, is_so: Callable[[str | None], bool], in_a_row: int = 1
    ) -> None:
        # One that was reloaded may have old processes that accept connections for a moment.
        patience = threading.Event()
        for _ in range(600):
            if all(is_so(found := self.served(hostname)) for _ in range(in_a_row)):
                return
            patience.wait(0.05)
        raise AssertionError(f"{found} is still served for {hostname}")

    @contextmanager
    def under_constant_handshakes(self, hostname: str) -> Iterator[list[str | None]]:
        """The certificates that two clients get on new connections during the block."""
        seen: list[str | None] = []
        ended = threading.Event()

        def ask() -> None:
            # Breathing in between: clients at full speed would take the processor from servers.
            while not ended.wait(0.02):
                seen.append(self.served(hostname))

        clients = [threading.Thread(target=ask) for _ in range(2)]
        for client in clients:
            client.start()
        yield seen
        ended.set()
        for client in clients:
            client.join()


def fingerprint(certificate: x509.Certificate) -> str:
    """The SHA-256 of a certificate."""
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def start_caddy(folder: Path, caddyfile: str) -> tuple[Server, Terminator]:
    """Caddy with `caddyfile`, in which `{port}` stands for where it is to listen, `{plain}` for
    another port."""
    port = free_port()
    written = folder / "Caddyfile"
    ports = caddyfile.replace("{port}", str(port)).replace("{plain}", str(free_port()))
    written.write_text(ports)
    command = [str(_BINARIES / "caddy"), "run", "--config", str(written)]
    environment = {
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
    }
    server = Server(
        f"https://127.0.0.1:{port}",
        [*command, "--adapter", "caddyfile"],
        folder / "log",
        lambda _: _listens(port),
        {"env": environment},
    )
    return server, Terminator(server, port)


def start_traefik(folder: Path, configuration: str) -> tuple[Server, Terminator]:
    """Traefik with the static `configuration`, in which `{port}` stands for where it is to
    listen."""
    port = free_port()
    written = folder / "traefik.yaml"
    written.write_text(configuration.replace("{port}", str(port)))
    server = Server(
        f"https://127.0.0.1:{port}",
        [str(_BINARIES / "traefik"), f"--configFile={written}"],
        folder / "log",
        lambda _: _listens(port),
    )
    return server, Terminator(server, port)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
