"""The reasons for which a request is refused. A reason knows nothing of HTTP: `problems` does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found in one field of what was sent.

    `error`: it cannot be accepted, or will not work. `warning`: it works, and somebody may be
    surprised. `info`: it was understood, or repaired.
    """

    code: Annotated[str, Meta(description="What is wrong, for programs.", examples=["required"])]
    field: Annotated[str, Meta(description="The field to blame.", examples=["name"])]
    detail: Annotated[
        str, Meta(description="What is wrong, for people.", examples=["name is missing."])
    ]
    hint: Annotated[
        str,
        Meta(description="What to do about it.", examples=['Example: {"name": "Ada Lovelace"}']),
    ]
    severity: Annotated[
        Severity,
        Meta(description="error: it cannot be accepted, or will not work.", examples=["error"]),
    ] = "error"


MOST_FINDINGS = 100


def capped(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The first MOST_FINDINGS findings; if there are more, another one that counts the rest."""
    shown, rest = findings[:MOST_FINDINGS], findings[MOST_FINDINGS:]
    if not rest:
        return tuple(shown)
    return (
        *shown,
        Finding(
            "more_findings",
            rest[0].field,
            f"And {len(rest)} more.",
            "Correct the others first, and send the request again.",
            rest[0].severity,
        ),
    )


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not an error
    """A request cannot be carried out as it stands; nothing was changed.

    `detail` is a sentence for the caller, `errors` the fields to blame, `retry_after` the seconds
    after which the same request may succeed.
    """

    def __init__(
        self, detail: str, *, errors: Sequence[Finding] = (), retry_after: int | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = capped(errors)
        self.retry_after = retry_after


class Malformed(Refusal):
    """What was sent is not JSON, not an object, or lacks a required field."""


class Invalid(Refusal):
    """What was sent can be read, but a value in it cannot be accepted."""


class TooSlow(Refusal):
    """What was sent came so slowly that it was not waited for."""


class TooLarge(Refusal):
    """What was sent is larger than the service reads."""


class UnsupportedMediaType(Refusal):
    """What was sent is not declared as JSON."""


class NotAcceptable(Refusal):
    """The caller admits no answer that the service can give."""


class Unauthenticated(Refusal):
    """Nobody knows who asks: a token or a password is missing, wrong, or has ended."""


class Forbidden(Refusal):
    """The caller is not one whom the service answers, or may not ask for this."""


class NotFound(Refusal):
    """It is not there, or it is not the caller's."""


class Conflict(Refusal):
    """It contradicts what is stored."""


class PreconditionFailed(Refusal):
    """The state has moved on since the caller read it."""


class TooManyRequests(Refusal):
    """The caller has asked too often; the same request may succeed later."""


class Unavailable(Refusal):
    """The service cannot do its work just now; the same request may succeed later."""


def user_not_found(user_id: int) -> NotFound:
    """Returns the error for a user that does not exist."""
    return NotFound(f"There is no user {user_id}.")
