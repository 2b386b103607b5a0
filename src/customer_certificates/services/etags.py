"""Entity tags (RFC 9110, 8.8.3) of representations, and preconditions that use them."""

from hashlib import blake2b
from typing import Any

import msgspec

from ..errors import PreconditionFailed

# Part of every tag and of every cached page's name. Raise it when the content of lists changes, so
# that neither a client nor another version of the service mistakes the old form for the new one.
REPRESENTATION = 4

encode = msgspec.json.Encoder().encode


class Tags(frozenset[str]):
    """The entity tags of an `If-Match` or `If-None-Match` header; `*` matches any."""

    def admit(self, tag: str) -> bool:
        """Returns whether `tag` is among them."""
        return "*" in self or tag in self

    def admit_content(self, tag: str) -> bool:
        """Returns whether they have `tag`, or a tag of `detailed` that begins with it."""
        return self.admit(tag) or any(own.partition("-")[0] == tag for own in self)


def tag_of(body: bytes) -> str:
    """Returns the entity tag of a representation, from its content."""
    return blake2b(body, digest_size=16).hexdigest()


def tag_of_view(view: Any) -> str:
    """Returns the entity tag of a view, which `require_view` accepts."""
    return tag_of(encode(view))


def tag_of_revision(revision: bytes) -> str:
    """Returns the entity tag of a list, from its revision."""
    return f"{REPRESENTATION}-{revision.hex()}"


def require(expected: Tags | None, tag: str) -> None:
    """Raises PreconditionFailed if the caller expected another state than `tag`."""
    if expected is not None and not expected.admit(tag):
        raise PreconditionFailed(
            "If-Match does not match: the resource has changed since you read it. Read it again, "
            "then retry with the new ETag."
        )


def require_view(expected: Tags | None, view: Any) -> None:
    """Calls `require` with the content's tag; costs nothing without a precondition."""
    if expected is not None and not expected.admit_content(tag := tag_of(encode(view))):
        require(expected, tag)
