"""What the outside is shown of a row, as bytes, and the entity tags that name those bytes."""

from datetime import datetime
from hashlib import blake2b
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ..errors import PreconditionFailed

# Part of every tag and of every cached page's name: raise it when what a list shows changes, so
# that neither a client nor another version of the service takes the old form for the new.
REPRESENTATION = 1

encode = msgspec.json.Encoder().encode


class UserView(msgspec.Struct, kw_only=False):
    """A user, without anything secret."""

    id: Annotated[int, Meta(ge=1, description="The user's id.", examples=[1])]
    name: Annotated[str, Meta(description="What to call the user.", examples=["Ada Lovelace"])]
    email: Annotated[str, Meta(description="As it was last written.", examples=["ada@example.com"])]
    created_at: Annotated[
        datetime,
        Meta(tz=True, description="When it was registered.", examples=["2026-11-23T09:30:00Z"]),
    ]


class CertificateView(msgspec.Struct):
    """A certificate as it came, without its private key."""

    id: Annotated[int, Meta(ge=1, description="The certificate's id.", examples=[1])]
    user_id: Annotated[int, Meta(ge=1, description="Whose it is.", examples=[1])]
    active: Annotated[bool, Meta(description="Whether it is to be served.", examples=[True])]
    body: Annotated[
        str,
        Meta(
            description="The text as it was uploaded.",
            examples=["-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----\n"],
        ),
    ]
    created_at: Annotated[
        datetime,
        Meta(tz=True, description="When it was uploaded.", examples=["2026-11-23T09:30:00Z"]),
    ]


class Tags(frozenset[str]):
    """The entity tags of an `If-Match` or `If-None-Match` header; `*` stands for any."""

    def admit(self, tag: str) -> bool:
        """Whether `tag` is among them."""
        return "*" in self or tag in self


def tag_of(body: bytes) -> str:
    """The entity tag of a representation that is named by its content."""
    return blake2b(body, digest_size=16).hexdigest()


def tag_of_revision(revision: bytes) -> str:
    """The entity tag of a list that is named by its revision."""
    return f"{REPRESENTATION}-{revision.hex()}"


def require(expected: Tags | None, tag: str) -> None:
    """Raises PreconditionFailed where the caller expected another state than `tag` names."""
    if expected is not None and not expected.admit(tag):
        raise PreconditionFailed(
            "It has changed since it was read (If-Match names another state). "
            "Read it again, then decide."
        )


def require_view(expected: Tags | None, view: Any) -> None:
    """`require` for a representation that is named by its content; free where none is expected."""
    if expected is not None:
        require(expected, tag_of(encode(view)))
