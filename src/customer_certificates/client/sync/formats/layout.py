"""The file layout of a terminator format."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ..files.folder import Folder, shard
from ..state.certificates import Placed
from ..state.state import State


@dataclass(slots=True)
class ChangeSet:
    """The effects of a change.

    `contents`: a served certificate was renewed. `selected`: another certificate is served for a
    name. `names`: a name was added to or removed from the served names.
    """

    contents: bool = False
    selected: bool = False
    names: bool = False


class Layout(ABC):
    """One format. `listing` is the file that lists all served certificates or names."""

    listing: str

    def __init__(self, folder: Folder, state: State) -> None:
        self._folder = folder
        self._state = state

    @abstractmethod
    def prepare(self) -> None:
        """Stages constant files. Raises OSError; ValueError if the folder is unsuitable."""

    @abstractmethod
    def path(self, placed: Placed, names: Callable[[], Sequence[str]]) -> str:
        """Returns the path for a certificate that is served for `names()`."""

    def can_serve(self, hostname: str) -> bool:
        """Returns whether the server can serve a certificate for `hostname`."""
        return True

    def names_error(self, names: Sequence[str]) -> str | None:
        """Returns why the server cannot serve all these names with one certificate, or None."""
        return None

    def point(
        self, hostname: str, selected: Mapping[str, Placed], *, keeps_free: bool
    ) -> list[str]:
        """Stages the links from `hostname` to its `selected` files. Returns unused paths.

        `keeps_free`: no certificate is selected, and no wildcard may be served for the name.
        """
        return []

    def is_listing_due(self, changes: ChangeSet) -> bool:
        """Returns whether the listing must be written again."""
        return changes.selected

    def is_reload_due(self, changes: ChangeSet) -> bool:
        """Returns whether a running server must reload its files."""
        return changes.selected or changes.contents

    @abstractmethod
    def write_listing(self, write: Callable[[bytes], int]) -> None:
        """Writes the listing with `write`, in parts."""


def certificate_path(name: str) -> str:
    """Returns the path of a certificate's file; `name` identifies the file."""
    return f"certificates/{shard(name)}/{name}.pem"


def is_sent_by_clients(hostname: str) -> bool:
    """Returns whether TLS clients can send `hostname`: not an IP address (RFC 6066, 3)."""
    return ":" not in hostname and not hostname.rpartition(".")[2].isdigit()


def require_plain(root: Path) -> None:
    """Raises ValueError if `root` would need quotes in a configuration."""
    if not all(
        character.isascii() and (character.isalnum() or character in "/._-")
        for character in str(root)
    ):
        raise ValueError(
            f"{root} has characters that the configuration cannot contain. Choose another path."
        )


def placeholder() -> bytes:
    """Returns an untrusted certificate and its key, for names without a certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "no certificate")])
    start = datetime(2000, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
