"""Entity tags (RFC 9110, 8.8.3) of representations, and the preconditions that name them."""

from hashlib import blake2b
from typing import Any

import msgspec

from ..errors import PreconditionFailed

# Part of every tag and of every cached page's name: raise it when what a list shows changes, so
# that neither a client nor another version of the service takes the old form for the new.
REPRESENTATION = 3

encode = msgspec.json.Encoder().encode


class Tags(frozenset[str]):
    """The entity tags of an `If-Match` or `If-None-Match` header; `*` stands for any."""

    def admit(self, tag: str) -> bool:
        """Whether `tag` is among them."""
        return "*" in self or tag in self

    def admit_content(self, tag: str) -> bool:
        """Whether `tag` is, or one of `detailed` that begins with it."""
        return self.admit(tag) or any(one.partition("-")[0] == tag for one in self)


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
            "If-Match does not match: the resource has changed since you read it. "
            "Read it again, then retry with the new ETag."
        )


def require_view(expected: Tags | None, view: Any) -> None:
    """`require` for a representation that is named by its content; free where none is expected."""
    if expected is not None and not expected.admit_content(tag := tag_of(encode(view))):
        require(expected, tag)
