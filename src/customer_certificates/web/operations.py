"""Descriptions of operations: documentation and permissions."""

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, TypeVar

from ..errors import Refusal
from ..services.access.permissions import Permission
from ..services.labels import CONDITION

F = TypeVar("F", bound=Callable[..., None])


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter or header; `schema` is JSON Schema."""

    name: str
    description: str
    schema: dict[str, Any]
    required: bool = False
    place: Literal["query", "header"] = "query"


@dataclass(frozen=True, slots=True)
class Answer:
    """The description of one response of an operation.

    `kind` is the type of the JSON body. None means no body, or text if `media_type` is set.
    """

    description: str
    kind: Any = None
    headers: tuple[str, ...] = ()
    media_type: str | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """Describes a responder, one method of one route, and leaves its behavior unchanged.

    `allow` says who may send the request. If it is None, the resource's own `allow` applies.
    With IF_NONE_MATCH or IF_MATCH, the response 200 has an ETag; with IF_NONE_MATCH there is a 304.
    `refusals` are specific to the operation. Refusals common to all requests or bodies are added.
    With `allows_other_parameters`, unknown query parameters are ignored. It is for third-party
    clients, whose next version may send more parameters.
    """

    summary: str
    answers: dict[int, Answer]
    _: KW_ONLY
    allow: Permission | None = None
    description: str = ""
    body: Any = None
    parameters: Sequence[Parameter] = ()
    refusals: Sequence[type[Refusal]] = ()
    asks_database: bool = True
    allows_other_parameters: bool = False

    def __call__(self, responder: F) -> F:
        """Returns `responder` with its description."""
        responder.__operation__ = self  # pyrefly: ignore[missing-attribute]
        return responder


operation = Operation


AFTER = Parameter(
    "after",
    "Return only items with a greater id. Use the last id of the previous page.",
    {"type": "integer", "minimum": 0, "maximum": 2**63 - 1, "default": 0},
)
LIMIT = Parameter(
    "limit",
    "The maximum number of items. A page of large items may have fewer. Follow the Link header.",
    {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
)
IF_MATCH = Parameter(
    "If-Match",
    "Change the resource only if it still has this entity tag. Otherwise respond with 412.",
    {"type": "string", "examples": ['"5d41402abc4b2a76b9719d911017c592"']},
    place="header",
)
IF_NONE_MATCH = Parameter(
    "If-None-Match",
    "Respond with 304 if the resource still has this entity tag.",
    {"type": "string", "examples": ['"5d41402abc4b2a76b9719d911017c592"']},
    place="header",
)
IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "A unique key for this request, for example a random UUID. For 24 hours, the same request with "
    "the same key gets the stored response, with `Idempotency-Replayed: true`. A different request "
    "with the same key gets 422. A retry while the first request is running gets 409 with "
    "`Retry-After`.",
    {
        "type": "string",
        "pattern": "^[!-~]{1,255}$",
        "examples": ["9f2c7a52-0f0e-4c5e-9a55-3a1d1f0f7f10"],
    },
    place="header",
)
LABEL = Parameter(
    "label",
    "Return only items with this label, like `env=production`. Up to 5 labels: all must match.",
    {"type": "array", "items": {"type": "string", "pattern": CONDITION}, "maxItems": 5},
)
PAGE = (LIMIT, AFTER)
WRITE = (IF_MATCH, IDEMPOTENCY_KEY)


def permission_of(resource: object, operation: Operation) -> Permission:
    """Returns the permission of `operation`, or else of `resource` (or its class)."""
    if operation.allow is not None:
        return operation.allow
    permission: Permission = resource.allow  # pyrefly: ignore[missing-attribute]
    return permission
