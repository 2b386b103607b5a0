"""The TLS certificate and key of the service itself."""

import os
import stat
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ..errors import StartError

# Curves that every client of TLS 1.2 and 1.3 knows.
_CURVES = {"secp256r1", "secp384r1"}


class TlsFileError(StartError):
    """The files cannot be used. The message names the file, the reason and the remedy."""


class Pair(NamedTuple):
    """A certificate with its chain, and its key, in PEM.

    `warning` is set if the certificate is not valid now.
    """

    certificate: bytes
    key: bytes
    warning: str | None


class Served:
    """Private copies of the pair in use.

    A worker may start at any time, even between the renewals of the two files.
    """

    def __init__(self, files: tuple[Path, Path]) -> None:
        self._files = files
        self._descriptors: tuple[int, ...] = ()
        self.pair: Pair | None = None

    def take_up(self, now: datetime) -> Pair:
        """Loads the pair in the files. Raises TlsFileError if it cannot be used."""
        pair = read_pair(self._files, now)
        self.close()
        # On Linux, the copy of the key stays in memory, never on a disk.
        if hasattr(os, "memfd_create"):
            self._descriptors = _in_memory(pair.certificate), _in_memory(pair.key)
        self.pair = pair
        return pair

    def differs(self, now: datetime) -> bool:
        """Returns whether the files hold another pair. Raises TlsFileError as `take_up` does."""
        return not self.pair or read_pair(self._files, now)[:2] != self.pair[:2]

    @property
    def paths(self) -> tuple[str, str]:
        """The paths of certificate and key for this process and its children."""
        certificate, key = self._descriptors or self._files
        if self._descriptors:
            return f"/proc/self/fd/{certificate}", f"/proc/self/fd/{key}"
        return str(certificate), str(key)

    def close(self) -> None:
        """Closes the copies.

        Running worker processes keep theirs.
        """
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = ()


def read_pair(files: tuple[Path, Path], now: datetime) -> Pair:
    """Reads the files of the certificate and the key.

    Raises TlsFileError if a file is unreadable, the key is world-readable, or they do not match.
    """
    certificate_path, key_path = files
    certificate = _content("CC_TLS_CERTIFICATE", certificate_path)
    key = _content("CC_TLS_KEY", key_path)
    if key_path.stat().st_mode & (stat.S_IRWXO):
        raise TlsFileError(
            f"CC_TLS_KEY={key_path} is readable by every account. Run: chmod 600 {key_path}"
        )
    try:
        leaf = x509.load_pem_x509_certificates(certificate)[0]
    except ValueError as error:
        raise TlsFileError(
            f"CC_TLS_CERTIFICATE={certificate_path} holds no certificate in PEM: {error}. "
            "Name a file with the certificate and its chain."
        ) from None
    _require_fit(files, leaf, key)
    return Pair(certificate, key, _warning(certificate_path, leaf, now))


def _in_memory(content: bytes) -> int:
    descriptor = os.memfd_create("tls")
    os.write(descriptor, content)
    return descriptor


def _content(variable: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsFileError(
            f"{variable}={path} cannot be read: {error.strerror}. "
            "Check the path and its permissions."
        ) from None


def _require_fit(files: tuple[Path, Path], leaf: x509.Certificate, key: bytes) -> None:
    try:
        private = load_pem_private_key(key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise TlsFileError(
            f"CC_TLS_KEY={files[1]} holds no unencrypted private key in PEM: {error}. "
            "Remove the passphrase, or name the right file."
        ) from None
    if private.public_key() != leaf.public_key():
        raise TlsFileError(
            f"CC_TLS_KEY={files[1]} does not match the first certificate in "
            f"CC_TLS_CERTIFICATE={files[0]}. Name files that belong together."
        )
    match private:
        case rsa.RSAPrivateKey() if private.key_size >= 2048:
            return
        case ec.EllipticCurvePrivateKey() if private.curve.name in _CURVES:
            return
        case ed25519.Ed25519PrivateKey():
            return
    raise TlsFileError(
        f"CC_TLS_KEY={files[1]} has an unsupported key type. Use RSA with 2048 bits or more, "
        "P-256, P-384 or Ed25519."
    )


def _warning(path: Path, leaf: x509.Certificate, now: datetime) -> str | None:
    if leaf.not_valid_after_utc < now:
        return (
            f"CC_TLS_CERTIFICATE={path} expired on {leaf.not_valid_after_utc:%Y-%m-%d}. Renew it."
        )
    if leaf.not_valid_before_utc > now:
        return (
            f"CC_TLS_CERTIFICATE={path} is not valid before {leaf.not_valid_before_utc:%Y-%m-%d}."
        )
    return None
