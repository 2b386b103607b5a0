"""Responses of the service, as types, and the errors that they become."""

from datetime import datetime
from http import HTTPStatus
from typing import TypeVar

import httpx
import msgspec

from ...errors import Finding

T = TypeVar("T")


class Refused(Exception):  # noqa: N818
    """The service rejected a request; the message and `findings` say why."""

    def __init__(self, detail: str, findings: tuple[Finding, ...]) -> None:
        super().__init__(detail)
        self.findings = findings


class Unreachable(Exception):  # noqa: N818
    """There is no usable response, and a retry would not help; the message says why."""


class Lost(Exception):  # noqa: N818
    """There is no usable response, but a retry may succeed.

    `detail` says why, and the message adds `advice`. `retry_after`: the delay in seconds that the
    service asked for, if any. `is_down`: nothing accepts connections at the service's address.
    """

    def __init__(
        self,
        detail: str,
        advice: str = "",
        *,
        retry_after: float | None = None,
        is_down: bool = False,
    ) -> None:
        super().__init__(f"{detail}. {advice}" if advice else detail)
        self.detail = detail
        self.advice = advice
        self.retry_after = retry_after
        self.is_down = is_down


class Pending(msgspec.Struct, frozen=True):
    """A version of a certificate that the service serves later."""

    fingerprint_sha256: str | None = None
    findings: tuple[Finding, ...] = ()


class Stored(msgspec.Struct, frozen=True):
    """A stored certificate, with the fields that the clients need."""

    id: int
    active: bool
    fingerprint_sha256: str | None = None
    trust: str | None = None
    findings: tuple[Finding, ...] = ()
    hostnames: tuple[str, ...] = ()
    not_after: datetime | None = None
    key_algorithm: str | None = None
    pending: Pending | None = None


class Expiring(msgspec.Struct, frozen=True):
    """An active certificate that expires soon or has expired. `covered`: others replace it."""

    id: int
    hostnames: tuple[str, ...]
    not_after: datetime
    covered: bool


class ExpiringOfUser(Expiring, frozen=True):
    """An active certificate of any user that expires soon or has expired."""

    user_id: int


class Found(msgspec.Struct, frozen=True):
    """A certificate of any user, as the service shows it."""

    id: int
    user_id: int
    external_id: str | None
    hostnames: tuple[str, ...]
    subject: str | None
    issuer: str | None
    serial: str | None
    not_before: datetime | None
    not_after: datetime | None
    status: str
    active: bool
    servable: bool
    not_servable_reason: str | None
    trust: str
    key_algorithm: str | None
    fingerprint_sha256: str | None
    spki_sha256: str | None
    version: int
    labels: dict[str, str]


class Hostnames(msgspec.Struct, frozen=True):
    """The hostnames that keep the certificate from being activated, by reason."""

    taken: tuple[str, ...] = ()
    unproven: tuple[str, ...] = ()
    reserved: tuple[str, ...] = ()


class ValidatedUpload(msgspec.Struct, frozen=True):
    """The result of validating an upload without storing it."""

    accepted: bool
    trust: str | None = None
    findings: tuple[Finding, ...] = ()
    hostnames: Hostnames = Hostnames()


class _Problem(msgspec.Struct, frozen=True):
    detail: str
    errors: tuple[Finding, ...] = ()


def read(response: httpx.Response, kind: type[T]) -> T:
    """Returns the response as a `kind`. Raises Refused, Unreachable."""
    try:
        if response.is_success:
            return msgspec.json.decode(response.content or b"null", type=kind)
        if response.is_client_error:
            problem = msgspec.json.decode(response.content, type=_Problem)
            raise Refused(_with_advice(response.status_code, problem.detail), problem.errors)
    except (ValueError, RecursionError):
        pass
    status = f"{response.status_code} {response.reason_phrase}"
    raise Unreachable(
        f"{response.url} responded with {status}, but not as this service does. Check the URL of "
        "the service."
    )


def _with_advice(status: int, detail: str) -> str:
    """Returns `detail`; of a 401, with the option that passes a token."""
    if status == HTTPStatus.UNAUTHORIZED:
        return f"{detail} Pass a valid token with --token-file FILE."
    return detail
