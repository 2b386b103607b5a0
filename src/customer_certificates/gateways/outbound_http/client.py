"""One attempt to send a request to a target."""

import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from http.client import HTTPException
from typing import NoReturn

from ...setting_parsers import Network
from .blocked_addresses import AddressRules
from .deadline import Deadline, Incoming
from .errors import TargetForbidden, TargetUnreachable
from .idle_connections import ConnectionRoute, IdleConnections
from .resolver import Resolve, Resolver, system_addresses
from .responses import Answer, Page, read_body, read_head, read_page, retry_after
from .url import LOOPBACK, Address, Target, read

ATTEMPT_SECONDS = 15.0


def _now() -> datetime:
    return datetime.now(UTC)


class Outbound:
    """Sends requests to URLs of customers, from any number of threads.

    Each attempt resolves the target's name once, and checks all its addresses. It connects to a
    checked address, and TLS still verifies the name. Redirects and proxies from the environment are
    ignored.
    """

    def __init__(
        self,
        *,
        https_only: bool,
        allowed: Sequence[Network],
        own: Sequence[Network],
        roots_pem: bytes,
        resolve: Resolve = system_addresses,
        now: Callable[[], datetime] = _now,
        seconds: float = ATTEMPT_SECONDS,
    ) -> None:
        """Configures the client.

        `allowed` are non-public ranges that are allowed. `own` are addresses of the service besides
        those of this machine. `roots_pem` are the trusted roots. `resolve` returns a name's
        addresses. `seconds` limits the duration of an attempt.
        """
        self._https_only = https_only
        self._rules = AddressRules(allowed, own)
        self._roots_pem = roots_pem
        self._lookups = Resolver(resolve)
        self._idle = IdleConnections()
        self._now = now
        self._seconds = seconds

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        # Created at the first use: to read the roots takes tens of milliseconds.
        context = ssl.create_default_context(cadata=self._roots_pem.decode())
        context.set_alpn_protocols(["http/1.1"])
        return context

    def check(self, url: str) -> None:
        """Raises TargetForbidden if `url` is blocked without a DNS lookup."""
        self._read(url)

    def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Returns the response to a POST of `body`, whatever its status.

        Raises TargetForbidden, and TargetUnreachable if no status arrived in time.
        """
        deadline = Deadline(self._seconds)
        target = self._read(url)
        request = _request(target, headers, body)
        try:
            return self._exchange(request, self._ways(target, deadline), deadline)
        except (OSError, HTTPException) as error:
            self._say(error)

    def deadline(self) -> Deadline:
        """Returns a new deadline for requests that share one."""
        return Deadline(self._seconds)

    def get(
        self, url: str, most_bytes: int, addresses: Sequence[Address], deadline: Deadline
    ) -> Page:
        """Returns the response to a GET, with at most `most_bytes` of its body.

        `addresses`, if given, are those of the URL's host, which is not resolved again. Raises
        TargetForbidden, and TargetUnreachable if no response came in time.
        """
        target = self._read(url)
        try:
            ways = self._ways(target, deadline, addresses)
            connection, _ = self._connect(ways, deadline)
            with connection:
                connection.settimeout(deadline.left)
                connection.sendall(_get(target))
                incoming = Incoming(connection, deadline)
                return read_page(read_head(incoming), most_bytes)
        except (OSError, HTTPException) as error:
            self._say(error)

    def close(self) -> None:
        """Closes idle connections."""
        self._idle.close()

    def _read(self, url: str) -> Target:
        target = read(url)
        if self._https_only and target.scheme != "https":
            raise TargetForbidden("The URL does not begin with https://.", "Use an HTTPS URL.")
        if target.address is not None:
            self._permit([target.address])
        elif target.is_localhost:
            self._permit([LOOPBACK])
        return target

    def _permit(self, addresses: Sequence[Address]) -> None:
        """Raises TargetForbidden if one of `addresses` is blocked."""
        for address in addresses:
            kind = self._rules.blocked_reason(address)
            if kind is not None:
                # Without the address, so that clients cannot resolve internal names.
                raise TargetForbidden(
                    f"The URL's host has an address that is {kind}.",
                    "Use a URL on the public Internet, or ask the service's operator to allow it.",
                )

    def _ways(
        self, target: Target, deadline: Deadline, addresses: Sequence[Address] = ()
    ) -> list[ConnectionRoute]:
        """Returns the routes to the target, in the order of attempts."""
        if target.address is not None:
            addresses = [target.address]
        else:
            addresses = addresses or self._lookups.addresses(target.host, deadline)
            self._permit(addresses)
        return [
            ConnectionRoute(target.scheme, target.host, target.port, str(one)) for one in addresses
        ]

    def _exchange(
        self, request: bytes, ways: Sequence[ConnectionRoute], deadline: Deadline
    ) -> Answer:
        for way in ways:
            waiting = self._idle.take(way)
            if waiting is not None:
                try:
                    return self._ask(waiting, way, request, deadline)
                except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
                    # The other side closed it just then. If it has read the request all the same,
                    # it knows the second by its id.
                    break
        connection, way = self._connect(ways, deadline)
        return self._ask(connection, way, request, deadline)

    def _connect(
        self, ways: Sequence[ConnectionRoute], deadline: Deadline
    ) -> tuple[socket.socket, ConnectionRoute]:
        """Connects by the first route that works. Raises OSError if none does."""
        for tried, way in enumerate(ways, start=1):
            try:
                # A route that drops packets leaves time for the others.
                connection = socket.create_connection(
                    (way.address, way.port), deadline.left / (len(ways) - tried + 1)
                )
            except OSError:
                if tried == len(ways):
                    raise
            else:
                return self._secured(connection, way, deadline), way
        raise AssertionError("no route")

    def _secured(
        self, connection: socket.socket, way: ConnectionRoute, deadline: Deadline
    ) -> socket.socket:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if way.scheme == "http":
                return connection
            connection.settimeout(deadline.left)
            return self._tls.wrap_socket(connection, server_hostname=way.host)
        except BaseException:
            connection.close()
            raise

    def _ask(
        self, connection: socket.socket, way: ConnectionRoute, request: bytes, deadline: Deadline
    ) -> Answer:
        is_good = False
        try:
            connection.settimeout(deadline.left)
            connection.sendall(request)
            incoming = Incoming(connection, deadline)
            response = read_head(incoming)
            beginning, is_good = read_body(response, incoming)
            again = retry_after(response.getheader("Retry-After"), self._now)
            return Answer(response.status, again, beginning, deadline.spent)
        finally:
            if is_good:
                self._idle.keep(way, connection)
            else:
                connection.close()

    def _say(self, error: Exception) -> NoReturn:
        """Raises TargetUnreachable with a description of the error."""
        match error:
            case TimeoutError():
                detail = f"No response arrived within {self._seconds:g} seconds."
            case ssl.SSLCertVerificationError():
                detail = (
                    f"The server's certificate was rejected: {error.verify_message.rstrip('.')}."
                )
            case ssl.SSLError():
                detail = f"TLS failed: {error.reason}."
            case HTTPException():
                detail = "The connection was closed before an HTTP response arrived."
            case OSError():
                detail = f"The connection failed: {error.strerror}."
            case _:
                detail = "No response arrived."
        raise TargetUnreachable(detail) from error


def _request(target: Target, headers: Mapping[str, str], body: bytes) -> bytes:
    """Returns the bytes of the POST request (RFC 9112)."""
    lines = [
        f"POST {target.path} HTTP/1.1",
        f"Host: {target.authority}",
        *(f"{name}: {value}" for name, value in headers.items()),
        f"Content-Length: {len(body)}",
        "\r\n",
    ]
    return "\r\n".join(lines).encode("ascii") + body


def _get(target: Target) -> bytes:
    """Returns the bytes of a GET request.

    It requests an uncompressed response, and closes the connection.
    """
    lines = [
        f"GET {target.path} HTTP/1.1",
        f"Host: {target.authority}",
        "Accept: text/plain, */*",
        "Accept-Encoding: identity",
        "User-Agent: customer-certificates",
        "Connection: close",
        "\r\n",
    ]
    return "\r\n".join(lines).encode("ascii")
