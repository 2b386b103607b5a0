"""One service, as requests reach it: each is sent once, and what became of it is told apart."""

import ssl
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from .responses import Lost, read
from .server_url import is_this_machine

T = TypeVar("T")


class Connection:
    """Connections to a service, kept open between requests. Safe to use from several threads."""

    def __init__(self, server: str, token: str | None = None, at_once: int = 1) -> None:
        """`server` is the service's URL; `token` is shown where it asks for one; `at_once` is the
        most connections."""
        is_https = urlsplit(server).scheme == "https"
        self._client = httpx.Client(
            base_url=server,
            # Plain HTTP needs no CA certificates, and reading them takes longer than a request.
            verify=is_https or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            timeout=httpx.Timeout(30, connect=5),
            limits=httpx.Limits(max_connections=at_once),
            # A proxy would see keys that are sent without TLS, and be asked for its own localhost.
            trust_env=is_https and not is_this_machine(server),
            headers={
                "Accept": "application/json",
                **({"Authorization": f"Bearer {token}"} if token else {}),
            },
        )

    def close(self) -> None:
        """Ends all connections."""
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
        """What is answered, as a `kind`, within `seconds`. Raises Refused, Unreachable, Lost."""
        try:
            response = self._client.request(
                method,
                path,
                json=payload,
                params=params,
                timeout=httpx.Timeout(seconds, connect=5),
            )
        except httpx.TransportError as error:
            detail = f"{self._client.base_url} does not answer: {error or type(error).__name__}"
            raise Lost(detail, is_down=isinstance(error, httpx.ConnectError)) from error
        if response.status_code in (
            HTTPStatus.TOO_MANY_REQUESTS,
            HTTPStatus.SERVICE_UNAVAILABLE,
            # Of a proxy, while the service behind it starts again.
            HTTPStatus.BAD_GATEWAY,
            HTTPStatus.GATEWAY_TIMEOUT,
        ):
            raise Lost(
                f"{response.status_code} {response.reason_phrase}",
                retry_after=seconds_of(response.headers.get("Retry-After", "")),
            )
        return read(response, kind)


def seconds_of(retry_after: str) -> float | None:
    """A Retry-After header, which has seconds or a date."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:9])
    with suppress(ValueError, TypeError):
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    return None
