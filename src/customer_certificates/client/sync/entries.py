"""The entries of the feed."""

from datetime import datetime
from typing import Annotated

import msgspec

from ...pki.names.hostnames import normalise
from ...pki.submission import Trust

_Id = Annotated[int, msgspec.Meta(ge=1)]
_Word = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9]{1,20}\Z")]
_Digest = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class Entry(msgspec.Struct, frozen=True):
    """The current state of a certificate: serve it if `active`, otherwise delete it.

    An inactive certificate has only its ids and the names that it reserves for its user.
    """

    certificate_id: _Id
    user_id: _Id
    active: bool
    version: int = 0
    hostnames: tuple[str, ...] = ()
    not_before: datetime | None = None
    not_after: datetime | None = None
    trust: Trust = "unreadable"
    key_type: _Word | None = None
    fingerprint_sha256: _Digest | None = None
    chain_pem: str = ""
    private_key_pem: str = ""
    reserved_hostnames: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Entry({self.certificate_id}, ***)"

    @property
    def is_served(self) -> bool:
        """Whether the certificate is active and complete."""
        is_whole = self.key_type and self.fingerprint_sha256 and self.private_key_pem
        return bool(self.active and is_whole and self.chain_pem.isascii())

    @property
    def names(self) -> tuple[str, ...]:
        """The valid hostnames.

        They become parts of paths and configurations, so invalid ones from the service are left
        out.
        """
        return _normalised(self.hostnames)

    @property
    def reserved_names(self) -> tuple[str, ...]:
        """The names reserved for this certificate's user."""
        return self.names or _normalised(self.reserved_hostnames)

    @property
    def pem(self) -> bytes:
        """The chain with the leaf first, then the private key, without empty lines."""
        lines = f"{self.chain_pem}\n{self.private_key_pem}".splitlines()
        return "".join(f"{line.strip()}\n" for line in lines if line.strip()).encode("ascii")


def _normalised(hostnames: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in hostnames if normalise(name) == name)


class Page(msgspec.Struct, frozen=True):
    """A page of the feed.

    The next page begins at `cursor`. With `more`, it is available now. With `reset`, a snapshot
    begins. After its last page, certificates that are not part of the snapshot are deleted.
    """

    cursor: str
    more: bool
    reset: bool
    changes: tuple[Entry, ...]
