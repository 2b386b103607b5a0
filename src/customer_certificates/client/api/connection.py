"""HTTP connections to the service. Each request is sent once."""

import ssl
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from .responses import Lost, read
from .server_url import is_this_machine

T = TypeVar("T")


class Connection:
    """Connections to a service, kept open between requests. Safe to use from several threads."""

    def __init__(
        self, server: str, token: str | None = None, at_once: int = 1, *, ca: Path | None = None
    ) -> None:
        """Connects to the service's URL `server`, with `token` if given.

        `at_once` limits the number of connections. `ca` is a PEM file with the only CA certificates
        to trust, or None for the public ones. Raises OSError if `ca` cannot be used.
        """
        is_https = urlsplit(server).scheme == "https"
        self._client = httpx.Client(
            base_url=server,
            # Plain HTTP needs no CA certificates, and reading them takes longer than a request.
            verify=tls_context(ca) if is_https else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            timeout=httpx.Timeout(30, connect=5),
            limits=httpx.Limits(max_connections=at_once),
            # Without TLS, a proxy would see the keys. For localhost, it would use its own host.
            trust_env=is_https and not is_this_machine(server),
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
        try:
            response = self._client.request(
                method, path, json=payload, params=params, timeout=httpx.Timeout(seconds, connect=5)
            )
        except httpx.TransportError as error:
            detail = (
                f"{self._client.base_url} does not respond: {error or type(error).__name__}"
                f"{_advice(error)}"
            )
            raise Lost(detail, is_down=isinstance(error, httpx.ConnectError)) from error
        if response.status_code in (
            HTTPStatus.TOO_MANY_REQUESTS,
            HTTPStatus.SERVICE_UNAVAILABLE,
            # A proxy sends these while the service behind it restarts.
            HTTPStatus.BAD_GATEWAY,
            HTTPStatus.GATEWAY_TIMEOUT,
        ):
            raise Lost(
                f"{response.status_code} {response.reason_phrase}",
                retry_after=seconds_of(response.headers.get("Retry-After", "")),
            )
        return read(response, kind)


def tls_context(ca: Path | None) -> ssl.SSLContext | bool:
    """Returns the `verify` argument for httpx. Raises OSError if `ca` cannot be used."""
    return ssl.create_default_context(cafile=ca) if ca else True


def _advice(error: httpx.TransportError) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return ". If a private CA issued the service's certificate, name its file with --ca."
    return ""


def seconds_of(retry_after: str) -> float | None:
    """Returns the delay in a Retry-After header, which holds seconds or a date."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:9])
    with suppress(ValueError, TypeError):
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    return None
