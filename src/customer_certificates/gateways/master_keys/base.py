"""The interface of all providers of master keys."""

from typing import Protocol

from ...crypto.secret import Secret
from ...errors import StartError
from ..loop import Threads

# The timeout of a request to a remote provider.
THREADS = Threads("master-key", 4)


class MasterKeyError(StartError):
    """A master key cannot be used as it is configured.

    The message names the key, the reason and the remedy.
    """


class WrongMasterKey(Exception):  # noqa: N818 - it is the key that is wrong
    """The wrapped key belongs to another master key or user, or was modified."""


class MasterKey(Protocol):
    """Wraps data keys.

    A remote provider may be slow, or not respond.
    """

    # Stored with each wrapped data key. Equal for the same key on all hosts.
    id: str

    def wrap(self, data_key: Secret, aad: bytes) -> bytes:
        """Returns `data_key` wrapped.

        Only `unwrap` with the same `associated` data reads it. Raises Unavailable.
        """

    def unwrap(self, wrapped: bytes, aad: bytes) -> Secret:
        """Returns the data key. Raises WrongMasterKey, Unavailable."""

    def close(self) -> None:
        """Closes its connections."""
