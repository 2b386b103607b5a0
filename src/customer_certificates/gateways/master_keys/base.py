"""What every provider of a master key offers."""

from typing import Protocol

from ...crypto.secret import Secret
from ..loop import Threads

# Another machine is asked in these.
THREADS = Threads("master-key", 4)


class MasterKeyError(Exception):
    """A master key cannot be used as it is configured. The message says which, why, what to do."""


class WrongMasterKey(Exception):  # noqa: N818 - it is the key that is wrong
    """What was to be unwrapped was wrapped by another key, for another user, or was changed."""


class MasterKey(Protocol):
    """Wraps data keys. It may be another machine's, so it may be slow, and not answer."""

    # What a wrapped data key is stored with; the same wherever the same key is configured.
    id: str

    def wrap(self, data_key: Secret, aad: bytes) -> bytes:
        """`data_key` in a form that only `unwrap` reads, with the same `associated` data.

        Raises Unavailable.
        """

    def unwrap(self, wrapped: bytes, aad: bytes) -> Secret:
        """The data key. Raises WrongMasterKey, Unavailable."""

    def close(self) -> None:
        """Closes its connections."""
