"""The reasons for which a request is rejected, independent of HTTP."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from .field_docs import doc

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding about one field of the request.

    `error`: the value is rejected, or will not work. `warning`: the value works, but may cause
    surprises. `info`: the value was understood or repaired.
    """

    code: Annotated[str, doc("A machine-readable code of the problem.", "required")]
    field: Annotated[str, doc("The field that the finding is about.", "name")]
    detail: Annotated[str, doc("A description of the problem.", "name is missing.")]
    hint: Annotated[str, doc("How to fix the problem.", 'Example: {"name": "Ada Lovelace"}')]
    severity: Annotated[
        Severity, doc("error: the value is rejected, or will not work.", "error")
    ] = "error"


MOST_FINDINGS = 100


def capped(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Returns the first MOST_FINDINGS findings.

    If there are more, another finding counts the rest.
    """
    shown, hidden = tuple(findings[:MOST_FINDINGS]), findings[MOST_FINDINGS:]
    if not hidden:
        return shown
    detail = f"{len(hidden)} more findings are not listed."
    hint = "Fix the listed findings first, and send the request again."
    more = Finding("more_findings", hidden[0].field, detail, hint, hidden[0].severity)
    return (*shown, more)


class StartError(Exception):
    """A command or a process cannot run; the message says why, and what to do."""


class Failure(Exception):  # noqa: N818
    """An operation had no result. `detail` says why."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not an error
    """A request is rejected, and nothing was changed.

    `detail` is a sentence for the client, and `errors` are findings about fields. After
    `retry_after` seconds the same request may succeed.
    """

    def __init__(
        self, detail: str, *, errors: Sequence[Finding] = (), retry_after: int | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = capped(errors)
        self.retry_after = retry_after


class Malformed(Refusal):
    """The request is not JSON, not an object, or lacks a required field."""


class Invalid(Refusal):
    """The request can be read, but a value in it is invalid."""


class TooSlow(Refusal):
    """The request arrived too slowly."""


class TooLarge(Refusal):
    """The request exceeds the size limit."""


class UnsupportedMediaType(Refusal):
    """The request's media type is not JSON."""


class NotAcceptable(Refusal):
    """The client accepts no media type that the service can produce."""


class Unauthenticated(Refusal):
    """A token or password is missing, wrong, expired or revoked."""


class Forbidden(Refusal):
    """The principal or client lacks the permission for this request."""


class NotFound(Refusal):
    """The resource does not exist, or belongs to another user."""


class Conflict(Refusal):
    """The request conflicts with the stored state."""


class PreconditionFailed(Refusal):
    """The resource has changed since the client read it."""


class TooManyRequests(Refusal):
    """The client exceeded a rate limit. The same request may succeed later."""


class Unavailable(Refusal):
    """The service is unavailable. The same request may succeed later."""


def user_not_found(user_id: int) -> NotFound:
    """Returns the error for a user that does not exist."""
    return NotFound(f"User {user_id} does not exist.")
