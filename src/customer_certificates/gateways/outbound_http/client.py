"""One attempt to send a request to a target."""

import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from http.client import HTTPException

from ...setting_parsers import Network
from .blocked_addresses import AddressRules
from .deadline import Deadline, Incoming
from .errors import TargetForbidden, TargetUnreachable
from .idle_connections import IdleConnections, Route
from .resolver import Resolve, Resolver, system_addresses
from .responses import GetResponse, PostResponse, read_head, read_start, read_whole, retry_after
from .url import LOOPBACK, Address, Target, parse

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
        self._resolver = Resolver(resolve)
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
        self._target(url)

    def send(self, url: str, headers: Mapping[str, str], body: bytes) -> PostResponse:
        """Returns the response to a POST of `body`, whatever its status.

        Raises TargetForbidden, and TargetUnreachable if no status arrived in time.
        """
        deadline = self.deadline()
        target = self._target(url)
        request = _post(target, headers, body)
        try:
            routes = self._routes(target, deadline)
            if (connected := self._idle_connection(routes)) is not None:
                # If the other side has closed it just then, the request is sent once more. A
                # receiver that has read both knows the second by its id.
                with suppress(ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
                    return self._exchange(*connected, request, deadline)
            return self._exchange(*self._connect(routes, deadline), request, deadline)
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from error

    def deadline(self) -> Deadline:
        """Returns a new deadline for requests that share one."""
        return Deadline(self._seconds)

    def get(
        self, url: str, max_bytes: int, addresses: Sequence[Address], deadline: Deadline
    ) -> GetResponse:
        """Returns the response to a GET, with at most `max_bytes` of its body.

        `addresses`, if given, are those of the URL's host, which is not resolved again. Raises
        TargetForbidden, and TargetUnreachable if no response came in time.
        """
        target = self._target(url)
        try:
            routes = self._routes(target, deadline, addresses)
            connection, _ = self._connect(routes, deadline)
            with connection:
                connection.settimeout(deadline.left)
                connection.sendall(_get(target))
                return read_whole(read_head(Incoming(connection, deadline)), max_bytes)
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from error

    def close(self) -> None:
        """Closes idle connections."""
        self._idle.close()

    def _target(self, url: str) -> Target:
        target = parse(url)
        if self._https_only and target.scheme != "https":
            raise TargetForbidden("The URL does not begin with https://.", "Use an HTTPS URL.")
        if target.address is not None:
            self._require_allowed([target.address])
        elif target.is_localhost:
            self._require_allowed([LOOPBACK])
        return target

    def _require_allowed(self, addresses: Sequence[Address]) -> None:
        """Raises TargetForbidden if one of `addresses` is blocked."""
        for address in addresses:
            reason = self._rules.blocked_reason(address)
            if reason is not None:
                # Without the address, so that clients cannot resolve internal names.
                raise TargetForbidden(
                    f"The URL's host has an address that is {reason}.",
                    "Use a URL on the public Internet, or ask the service's operator to allow it.",
                )

    def _routes(
        self, target: Target, deadline: Deadline, addresses: Sequence[Address] = ()
    ) -> list[Route]:
        """Returns the routes to the target, in the order of attempts."""
        if target.address is not None:
            addresses = [target.address]
        else:
            addresses = addresses or self._resolver.addresses(target.host, deadline)
            self._require_allowed(addresses)
        return [
            Route(target.scheme, target.host, target.port, str(address)) for address in addresses
        ]

    def _idle_connection(self, routes: Sequence[Route]) -> tuple[socket.socket, Route] | None:
        for route in routes:
            if (connection := self._idle.pop(route)) is not None:
                return connection, route
        return None

    def _connect(self, routes: Sequence[Route], deadline: Deadline) -> tuple[socket.socket, Route]:
        """Connects by the first route that works. Raises OSError if none does."""
        for following, route in zip(range(len(routes) - 1, -1, -1), routes, strict=True):
            try:
                # A route that drops packets leaves time for the others.
                connection = socket.create_connection(
                    (route.address, route.port), deadline.left / (following + 1)
                )
            except OSError:
                if not following:
                    raise
            else:
                return self._secured(connection, route, deadline), route
        raise AssertionError("no route")

    def _secured(
        self, connection: socket.socket, route: Route, deadline: Deadline
    ) -> socket.socket:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if route.scheme == "http":
                return connection
            connection.settimeout(deadline.left)
            return self._tls.wrap_socket(connection, server_hostname=route.host)
        except BaseException:
            connection.close()
            raise

    def _exchange(
        self, connection: socket.socket, route: Route, request: bytes, deadline: Deadline
    ) -> PostResponse:
        is_reusable = False
        try:
            connection.settimeout(deadline.left)
            connection.sendall(request)
            incoming = Incoming(connection, deadline)
            response = read_head(incoming)
            body_start, is_reusable = read_start(response, incoming)
            delay = retry_after(response.getheader("Retry-After"), self._now)
            return PostResponse(response.status, delay, body_start, deadline.elapsed)
        finally:
            if is_reusable:
                self._idle.add(route, connection)
            else:
                connection.close()

    def _unreachable(self, error: OSError | HTTPException) -> TargetUnreachable:
        match error:
            case TimeoutError():
                detail = f"No response arrived within {self._seconds:g} seconds."
            case ssl.SSLCertVerificationError():
                reason = error.verify_message.rstrip(".")
                detail = f"The server's certificate was rejected: {reason}."
            case ssl.SSLError():
                detail = f"TLS failed: {error.reason}."
            case HTTPException():
                detail = "The connection was closed before an HTTP response arrived."
            case _:
                detail = f"The connection failed: {error.strerror}."
        return TargetUnreachable(detail)


def _post(target: Target, headers: Mapping[str, str], body: bytes) -> bytes:
    """Returns the bytes of a POST request (RFC 9112)."""
    fields = [f"{name}: {value}" for name, value in headers.items()]
    return _head("POST", target, *fields, f"Content-Length: {len(body)}") + body


def _get(target: Target) -> bytes:
    """Returns the bytes of a GET request for an uncompressed response."""
    return _head(
        "GET",
        target,
        "Accept: text/plain, */*",
        "Accept-Encoding: identity",
        "User-Agent: customer-certificates",
        "Connection: close",
    )


def _head(method: str, target: Target, *fields: str) -> bytes:
    lines = [f"{method} {target.path} HTTP/1.1", f"Host: {target.authority}", *fields, "\r\n"]
    return "\r\n".join(lines).encode("ascii")
