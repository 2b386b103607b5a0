"""HTTP connections to the service. Each request is sent once."""

import re
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import httpx

from .responses import Lost, read
from .server_url import is_this_machine

T = TypeVar("T")

_ERROR_NUMBER = re.compile(r"^\[Errno -?\d+\] ")


class Server(NamedTuple):
    """The service's URL, the token for its API, and the only CA certificates to trust.

    `ca` is a PEM file, or None for the public CA certificates.
    """

    url: str
    token: str | None = None
    ca: Path | None = None


class Connection:
    """Connections to a service, kept open between requests. Safe to use from several threads."""

    def __init__(self, server: Server, at_once: int = 1) -> None:
        """Opens at most `at_once` connections. Raises OSError if the CA file cannot be used."""
        url, token, ca = server
        is_https = urlsplit(url).scheme == "https"
        self._client = httpx.Client(
            base_url=url,
            # Plain HTTP needs no CA certificates, and reading them takes longer than a request.
            verify=tls_context(ca) if is_https else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            timeout=httpx.Timeout(30, connect=5),
            limits=httpx.Limits(max_connections=at_once),
            # Without TLS, a proxy would see the keys. For localhost, it would use its own host.
            trust_env=is_https and not is_this_machine(url),
            headers={
                "Accept": "application/json",
                **({"Authorization": f"Bearer {token}"} if token else {}),
            },
        )

    def close(self) -> None:
        """Closes all connections."""
        self._client.close()

    def send(
        self,
        kind: type[T],
        method: str,
        path: str,
        payload: Any = None,
        *,
        params: dict[str, str] | None = None,
        seconds: float = 30,
    ) -> T:
        """Returns the response as a `kind`, within `seconds`. Raises Refused, Unreachable, Lost."""
        return read(self._response(method, path, payload, params, seconds), kind)

    def page(self, kind: type[T], path: str, *, seconds: float = 30) -> tuple[list[T], str | None]:
        """Returns the items of a page, and the path of the next page, if any.

        Raises Refused, Unreachable, Lost.
        """
        response = self._response("GET", path, None, None, seconds)
        return read(response, list[kind]), response.links.get("next", {}).get("url")

    def _response(
        self, method: str, path: str, payload: Any, params: dict[str, str] | None, seconds: float
    ) -> httpx.Response:
        try:
            response = self._client.request(
                method, path, json=payload, params=params, timeout=httpx.Timeout(seconds, connect=5)
            )
        except httpx.TransportError as error:
            reason = _ERROR_NUMBER.sub("", str(error)) or type(error).__name__
            detail = f"{self._client.base_url} does not respond: {reason}"
            is_down = isinstance(error, httpx.ConnectError)
            raise Lost(detail, _advice(error), is_down=is_down) from error
        if response.status_code in (
            HTTPStatus.TOO_MANY_REQUESTS,
            HTTPStatus.SERVICE_UNAVAILABLE,
            # A proxy sends these while the service behind it restarts.
            HTTPStatus.BAD_GATEWAY,
            HTTPStatus.GATEWAY_TIMEOUT,
        ):
            detail = f"{response.status_code} {response.reason_phrase}"
            raise Lost(detail, retry_after=seconds_of(response.headers.get("Retry-After", "")))
        return response


def tls_context(ca: Path | None) -> ssl.SSLContext | bool:
    """Returns the `verify` argument for httpx. Raises OSError if `ca` cannot be used."""
    return ssl.create_default_context(cafile=ca) if ca else True


def _advice(error: httpx.TransportError) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "If a private CA issued the service's certificate, name its file with --ca."
    is_down = isinstance(error, httpx.ConnectError)
    return "Check --server, and that the service is running." if is_down else ""


def seconds_of(retry_after: str) -> float | None:
    """Returns the delay in a Retry-After header, which holds seconds or a date."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:9])
    with suppress(ValueError, TypeError):
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    return None
