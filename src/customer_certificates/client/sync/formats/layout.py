"""How a kind of terminator wants its certificates laid out in a folder."""

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
from ..state import Placed, State


@dataclass(slots=True)
class ChangeSet:
    """What a change came to.

    `contents`: a certificate that is served was renewed. `winners`: another one is served for some
    name. `names`: some name is served that was not, or is no more.
    """

    contents: bool = False
    winners: bool = False
    names: bool = False


class Layout(ABC):
    """One format. `listing` is the file that names everything that is served."""

    listing: str

    def __init__(self, folder: Folder, state: State) -> None:
        self._folder = folder
        self._state = state

    @abstractmethod
    def prepare(self) -> None:
        """Stages what never changes. Raises OSError; ValueError where the folder will not do."""

    @abstractmethod
    def path(self, placed: Placed, names: Callable[[], Sequence[str]]) -> str:
        """Returns the path for a certificate that is served for `names()`."""

    def can_serve(self, hostname: str) -> bool:
        """Whether the server can serve a certificate for `hostname`."""
        return True

    def names_error(self, names: Sequence[str]) -> str | None:
        """Why the server cannot serve one certificate for all these names; None if it can."""
        return None

    def point(self, hostname: str, winners: Mapping[str, Placed], *, keeps_free: bool) -> list[str]:
        """Stages whatever leads from `hostname` to its winners, by key type; the paths that
        nothing leads to any more. `keeps_free`: there is no winner, and a wildcard that covers the
        name must not be served for it."""
        return []

    def is_listing_due(self, settled: ChangeSet) -> bool:
        """Whether the listing has to be written anew."""
        return settled.winners

    def is_reload_due(self, settled: ChangeSet) -> bool:
        """Whether a running server has to read anything again."""
        return settled.winners or settled.contents

    @abstractmethod
    def write_listing(self, write: Callable[[bytes], int]) -> None:
        """Writes the listing, however long it is."""


def certificate_path(name: str) -> str:
    """Returns the path of a certificate's file; `name` identifies the file."""
    return f"certificates/{shard(name)}/{name}.pem"


def is_sent_by_clients(hostname: str) -> bool:
    """Whether a TLS client can ask for `hostname`: not for an IP address (RFC 6066, 3)."""
    return ":" not in hostname and not hostname.rpartition(".")[2].isdigit()


def require_plain(root: Path) -> None:
    """Raises ValueError where `root` would have to be quoted in a configuration."""
    if not all(one.isascii() and (one.isalnum() or one in "/._-") for one in str(root)):
        raise ValueError(
            f"{root} has characters that the configuration cannot contain. Choose another path."
        )


def placeholder() -> bytes:
    """A certificate that nobody trusts, and its key: for names that there is no certificate for."""
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
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
