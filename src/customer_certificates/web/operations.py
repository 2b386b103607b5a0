"""What a responder says of itself: for the description of the API, and who may ask for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import Refusal
from ..services.access.permissions import Permission

F = TypeVar("F", bound=Callable[..., None])


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter or header; `schema` is JSON Schema."""

    name: str
    place: str
    description: str
    schema: dict[str, Any]
    required: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What a status means; `kind` is the type of the JSON that is answered, None where nothing is,
    or what is of another `media_type`: a text then."""

    description: str
    kind: Any = None
    headers: tuple[str, ...] = ()
    media_type: str | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one route."""

    summary: str
    description: str
    answers: dict[int, Answer]
    body: Any
    parameters: tuple[Parameter, ...]
    refusals: tuple[type[Refusal], ...]
    asks_database: bool
    allow: Permission | None
    allows_other_parameters: bool = False


AFTER = Parameter(
    "after",
    "query",
    "Only items with a greater id: the last id of the page before.",
    {"type": "integer", "minimum": 0, "maximum": 2**63 - 1, "default": 0},
)
LIMIT = Parameter(
    "limit",
    "query",
    "How many items at most; a page of large items may end sooner. Follow the Link header.",
    {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
)
IF_MATCH = Parameter(
    "If-Match",
    "header",
    "Change it only if it still has this entity tag; else 412.",
    {"type": "string", "examples": ['"5d41402abc4b2a76b9719d911017c592"']},
)
IF_NONE_MATCH = Parameter(
    "If-None-Match",
    "header",
    "Answer 304 if it still has this entity tag.",
    {"type": "string", "examples": ['"5d41402abc4b2a76b9719d911017c592"']},
)
IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "header",
    "A random UUID, say. For 24 hours the same request with the same key is answered as it was, "
    "with `Idempotency-Replayed: true`, and not carried out again. Another request with the key "
    "gets a 422; while the first one is still running, 409 with `Retry-After`.",
    {
        "type": "string",
        "pattern": "^[!-~]{1,255}$",
        "examples": ["9f2c7a52-0f0e-4c5e-9a55-3a1d1f0f7f10"],
    },
)
NOT_MODIFIED = Answer("The client has it already.", headers=("ETag",))


def operation(
    summary: str,
    answers: dict[int, Answer],
    *,
    allow: Permission | None = None,
    description: str = "",
    body: Any = None,
    parameters: Sequence[Parameter] = (),
    refusals: Sequence[type[Refusal]] = (),
    asks_database: bool = True,
    allows_other_parameters: bool = False,
) -> Callable[[F], F]:
    """Describes the responder below it; changes nothing of it.

    `allow` says who may send the request; None: the resource's own `allow` does. `refusals` are
    those of its own: what any request or any body may meet is added to them.
    `allows_other_parameters`: unknown query parameters are ignored, since the next version of the
    client, which is not ours, may send more.
    """

    def describe(responder: F) -> F:
        described = Operation(
            summary,
            description,
            answers,
            body,
            tuple(parameters),
            tuple(refusals),
            asks_database,
            allow,
            allows_other_parameters,
        )
        responder.__operation__ = described  # pyrefly: ignore[missing-attribute]
        return responder

    return describe


def rights_of(resource: object, operation: Operation) -> Permission:
    """Returns who may send the request, as `operation` or `resource` (or its class) says."""
    if operation.allow is not None:
        return operation.allow
    rights: Permission = resource.allow  # pyrefly: ignore[missing-attribute]
    return rights
