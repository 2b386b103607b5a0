"""The interface of all providers of master keys."""

from typing import Protocol

from ...crypto.secret import Secret
from ...errors import Unavailable
from ..loop import Threads

# Requests to a remote provider wait in these threads.
THREADS = Threads("master-key", 4)


class MasterKeyError(Exception):
    """A master key cannot be used as it is configured.

    The message names the key, the reason and the remedy.
    """


class WrongMasterKey(Exception):  # noqa: N818
    """The wrapped key belongs to another master key or user, or was modified."""


def unavailable() -> Unavailable:
    """Returns the error for a remote provider that does not respond."""
    return Unavailable("The master key is unavailable now. Retry later.", retry_after=5)


class MasterKey(Protocol):
    """Wraps data keys. A remote provider may be slow, or not respond."""

    # Stored with each wrapped data key. Equal for the same key on all hosts.
    id: str

    def wrap(self, data_key: Secret, aad: bytes) -> bytes:
        """Returns `data_key` wrapped.

        Only `unwrap` with the same `aad` reads it. Raises Unavailable.
        """

    def unwrap(self, wrapped: bytes, aad: bytes) -> Secret:
        """Returns the data key. Raises WrongMasterKey, Unavailable."""

    def close(self) -> None:
        """Closes its connections."""
