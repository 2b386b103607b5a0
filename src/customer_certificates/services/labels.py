"""Labels and external ids, by which operators find users and certificates."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import ColumnElement, and_, exists

from ..errors import Forbidden
from ..field_docs import doc
from ..gateways.database import text_param
from .principal import Principal

# The most labels of a user or of a certificate, and the most conditions of one search.
MOST_LABELS = 20
MOST_CONDITIONS = 5
_CHARACTERS = "[a-z0-9._/-]{1,63}"
CONDITION = f"^{_CHARACTERS}={_CHARACTERS}$(?!\\n)"

_Word = Annotated[str, Meta(pattern=f"^{_CHARACTERS}$(?!\\n)")]
Labels = Annotated[
    Annotated[dict[_Word, _Word], Meta(max_length=MOST_LABELS)],
    doc(
        "At most 20 names with values, each of 1 to 63 characters: a-z, 0-9, dot, underscore, "
        "slash and hyphen.",
        {"env": "production"},
        extra={
            "form": "an object with at most 20 members, whose names and values have 1 to 63 "
            "characters (a-z, 0-9, dot, underscore, slash, hyphen)"
        },
    ),
]
ExternalId = Annotated[
    Annotated[
        str,
        Meta(
            min_length=1,
            max_length=255,
            pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)",
            extra={"form": "a string of 1 to 255 characters, without control characters"},
        ),
    ]
    | None,
    doc(
        "The user's id in another system, unique among users. Only operators set it.",
        "customer-4711",
    ),
]


def labels_json(labels: dict[str, str]) -> str:
    """Returns labels as they are stored: equal labels are equal texts."""
    return msgspec.json.encode(labels, order="sorted").decode()


def labels_of(stored: str) -> dict[str, str]:
    """Returns labels as they are shown."""
    return msgspec.json.decode(stored, type=dict[str, str])


def has_label(kind: Any, number: int, of_owner: ColumnElement[bool]) -> ColumnElement[bool]:
    """Returns whether the owner has the label of the parameters with this number.

    `kind` is the table of labels, and `of_owner` selects the rows of the owner.
    """
    return exists().where(of_owner, is_label(kind, number))


def is_label(kind: Any, number: int) -> ColumnElement[bool]:
    """Returns whether a row of `kind` is the label of the parameters with this number."""
    name, value = text_param(f"label_name_{number}"), text_param(f"label_value_{number}")
    return and_(kind.name == name, kind.value == value)


def label_values(conditions: tuple[str, ...]) -> dict[str, str]:
    """Returns the parameters of `has_label` for conditions like `env=production`."""
    values: dict[str, str] = {}
    for number, condition in enumerate(conditions):
        name, _, value = condition.partition("=")
        values |= {f"label_name_{number}": name, f"label_value_{number}": value}
    return values


def require_may_label_users(principal: Principal, *, labels: bool) -> None:
    """Raises Forbidden if the request sets a user's external id or labels, which operators set."""
    if labels and principal.kind in ("user", "anybody"):
        raise Forbidden(
            "external_id and labels of a user require an operator token. Omit them, or ask an "
            "operator."
        )
