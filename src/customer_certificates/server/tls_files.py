"""The certificate and key with which the service itself speaks TLS."""

import os
import stat
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

# Curves that every client of TLS 1.2 and 1.3 knows.
_CURVES = {"secp256r1", "secp384r1"}


class TlsFileError(Exception):
    """The files cannot be used. The message says which, why, and what to do."""


class Pair(NamedTuple):
    """A certificate with its chain, and its key, both in PEM; and what is to be said of it: that it
    is out of its time, or nothing."""

    certificate: bytes
    key: bytes
    warning: str | None


class Served:
    """The pair that is served, apart from the files: a worker may start at any time, also between
    the renewal of one and of the other."""

    def __init__(self, files: tuple[Path, Path]) -> None:
        self._files = files
        self._descriptors: tuple[int, ...] = ()
        self.pair: Pair | None = None

    def take_up(self, now: datetime) -> Pair:
        """Serves what is in the files from now on. Raises TlsFileError where it cannot be used."""
        pair = read_pair(self._files, now)
        self.close()
        # On Linux, in memory: a copy of a key is not left on a disk.
        if hasattr(os, "memfd_create"):
            self._descriptors = _in_memory(pair.certificate), _in_memory(pair.key)
        self.pair = pair
        return pair

    def differs(self, now: datetime) -> bool:
        """Whether the files have another pair by now. Raises TlsFileError as `take_up` does."""
        return not self.pair or read_pair(self._files, now)[:2] != self.pair[:2]

    @property
    def paths(self) -> tuple[str, str]:
        """Where this process and its children find the certificate and the key."""
        certificate, key = self._descriptors or self._files
        if self._descriptors:
            return f"/proc/self/fd/{certificate}", f"/proc/self/fd/{key}"
        return str(certificate), str(key)

    def close(self) -> None:
        """Forgets it; children that were started keep their own."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = ()


def read_pair(files: tuple[Path, Path], now: datetime) -> Pair:
    """The certificate's and the key's file.

    Raises TlsFileError where one is unreadable, the key is others' to read, or they do not fit.
    """
    certificate_path, key_path = files
    certificate = _content("CC_TLS_CERTIFICATE", certificate_path)
    key = _content("CC_TLS_KEY", key_path)
    if key_path.stat().st_mode & (stat.S_IRWXO):
        raise TlsFileError(
            f"CC_TLS_KEY={key_path} may be read by everybody on this machine: chmod 600 {key_path}."
        )
    try:
        leaf = x509.load_pem_x509_certificates(certificate)[0]
    except ValueError as error:
        raise TlsFileError(
            f"CC_TLS_CERTIFICATE={certificate_path} has no certificate in PEM: {error}."
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
        raise TlsFileError(f"{variable}={path} cannot be read: {error.strerror}.") from None


def _require_fit(files: tuple[Path, Path], leaf: x509.Certificate, key: bytes) -> None:
    try:
        private = load_pem_private_key(key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise TlsFileError(
            f"CC_TLS_KEY={files[1]} has no unencrypted private key in PEM: {error}."
        ) from None
    if private.public_key() != leaf.public_key():
        raise TlsFileError(
            f"CC_TLS_KEY={files[1]} is not the key of the first certificate in "
            f"CC_TLS_CERTIFICATE={files[0]}: name files that belong together."
        )
    match private:
        case rsa.RSAPrivateKey() if private.key_size >= 2048:
            return
        case ec.EllipticCurvePrivateKey() if private.curve.name in _CURVES:
            return
        case ed25519.Ed25519PrivateKey():
            return
    raise TlsFileError(
        f"CC_TLS_KEY={files[1]} is of a kind that is not served: use RSA with 2048 bits or more, "
        "P-256, P-384 or Ed25519."
    )


def _warning(path: Path, leaf: x509.Certificate, now: datetime) -> str | None:
    if leaf.not_valid_after_utc < now:
        return (
            f"CC_TLS_CERTIFICATE={path} expired on {leaf.not_valid_after_utc:%Y-%m-%d}: renew it."
        )
    if leaf.not_valid_before_utc > now:
        return (
            f"CC_TLS_CERTIFICATE={path} is not valid before {leaf.not_valid_before_utc:%Y-%m-%d}."
        )
    return None
