"""What the service answers, and what it means for whoever asked."""

from datetime import datetime
from typing import TypeVar

import httpx
import msgspec

from ...errors import Finding

T = TypeVar("T")


class Refused(Exception):  # noqa: N818 - a refusal is an answer, not an error
    """The service will not do it; `detail` and `findings` say why."""

    def __init__(self, detail: str, findings: tuple[Finding, ...]) -> None:
        super().__init__(detail)
        self.detail = detail
        self.findings = findings


class Unreachable(Exception):  # noqa: N818 - nor is a silence
    """There was no usable answer, and none is to be expected; `detail` says what there was."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Lost(Exception):  # noqa: N818
    """There was no usable answer, but another attempt may have one.

    `retry_after`: the seconds after which it should be made, where the service said so. `is_down`:
    nothing listens there.
    """

    def __init__(
        self, detail: str, *, retry_after: float | None = None, is_down: bool = False
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after
        self.is_down = is_down


class Pending(msgspec.Struct, frozen=True):
    """A version of a certificate that the service serves later."""

    fingerprint_sha256: str | None = None
    findings: tuple[Finding, ...] = ()


class Stored(msgspec.Struct, frozen=True):
    """A certificate as the service has it, as far as its clients need it."""

    id: int
    active: bool
    fingerprint_sha256: str | None = None
    trust: str | None = None
    findings: tuple[Finding, ...] = ()
    hostnames: tuple[str, ...] = ()
    not_after: datetime | None = None
    key_algorithm: str | None = None
    pending: Pending | None = None


class Ending(msgspec.Struct, frozen=True):
    """An active certificate that ends soon, or has ended. `covered`: others take over."""

    id: int
    hostnames: tuple[str, ...]
    not_after: datetime
    covered: bool


class Hostnames(msgspec.Struct, frozen=True):
    """The hostnames that keep the certificate from being activated, by reason."""

    taken: tuple[str, ...] = ()
    unproven: tuple[str, ...] = ()
    reserved: tuple[str, ...] = ()


class Checked(msgspec.Struct, frozen=True):
    """What an upload would be answered."""

    accepted: bool
    trust: str | None = None
    findings: tuple[Finding, ...] = ()
    hostnames: Hostnames = Hostnames()


class _Problem(msgspec.Struct, frozen=True):
    detail: str
    errors: tuple[Finding, ...] = ()


def read(response: httpx.Response, kind: type[T]) -> T:
    """What was answered, as a `kind`. Raises Refused, Unreachable."""
    try:
        if response.is_success:
            return msgspec.json.decode(response.content or b"null", type=kind)
        if response.is_client_error:
            problem = msgspec.json.decode(response.content, type=_Problem)
            raise Refused(problem.detail, problem.errors)
    except (ValueError, RecursionError):
        pass
    status = f"{response.status_code} {response.reason_phrase}"
    raise Unreachable(f"{response.url} answers {status}, and not as this service does.")
