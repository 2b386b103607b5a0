"""The TLS certificate and key of the service itself."""

import ssl
import stat
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from ..errors import StartError

# Curves that every client of TLS 1.2 and 1.3 knows.
_CURVES = {"secp256r1", "secp384r1"}
# OpenSSL's reasons for the key of another certificate; the last two for a key of another type.
_MISMATCHES = {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"}


class TlsFileError(StartError):
    """The files cannot be used. The message names the file, the reason and the remedy."""


class Pair(NamedTuple):
    """A certificate with its chain, and its key, in PEM.

    `context` has loaded both. `warning` is set if the certificate is not valid now.
    """

    certificate: bytes
    key: bytes
    context: ssl.SSLContext
    warning: str | None


class TlsFiles:
    """The pair in use. Worker processes inherit it: the files may be half-renewed."""

    def __init__(self, files: tuple[Path, Path]) -> None:
        self._files = files
        self.pair: Pair | None = None

    def load(self, now: datetime) -> Pair:
        """Loads the pair in the files. Raises TlsFileError if it cannot be used."""
        self.pair = read_pair(self._files, now)
        return self.pair

    def are_renewed(self, now: datetime) -> bool:
        """Returns whether the files hold a new pair. Raises TlsFileError if it cannot be used."""
        if self.pair and _content(self._files) == self.pair[:2]:
            return False
        read_pair(self._files, now)
        return True


def read_pair(files: tuple[Path, Path], now: datetime) -> Pair:
    """Loads the files of the certificate and the key.

    Raises TlsFileError if a file is unreadable, the key is world-readable, they do not match, or
    OpenSSL rejects them.
    """
    certificate, key = content = _content(files)
    try:
        leaf = x509.load_pem_x509_certificates(certificate)[0]
    except ValueError as error:
        raise TlsFileError(
            f"CC_TLS_CERTIFICATE={files[0]} holds no certificate in PEM: {error}. Name a file with "
            "the certificate and its chain."
        ) from None
    _require_supported_key(files[0], leaf)
    context = _context(files)
    if _content(files) != content:
        raise _being_replaced(files)
    return Pair(certificate, key, context, _warning(files[0], leaf, now))


def _content(files: tuple[Path, Path]) -> tuple[bytes, bytes]:
    return _read("CC_TLS_CERTIFICATE", files[0]), _read("CC_TLS_KEY", files[1], stat.S_IRWXO)


def _read(variable: str, path: Path, forbidden: int = 0) -> bytes:
    """Returns the content of a file. Raises TlsFileError if its mode has a `forbidden` bit."""
    try:
        content, mode = path.read_bytes(), path.stat().st_mode
    except OSError as error:
        raise TlsFileError(
            f"{variable}={path} cannot be read: {error.strerror}. Check the path and its "
            "permissions."
        ) from None
    if mode & forbidden:
        raise TlsFileError(f"{variable}={path} is readable by every account. Run: chmod 600 {path}")
    return content


def _require_supported_key(path: Path, leaf: x509.Certificate) -> None:
    try:
        key = leaf.public_key()
    except (ValueError, UnsupportedAlgorithm):
        key = None
    match key:
        case rsa.RSAPublicKey() if key.key_size >= 2048:
            return
        case ec.EllipticCurvePublicKey() if key.curve.name in _CURVES:
            return
        case ed25519.Ed25519PublicKey():
            return
    raise TlsFileError(
        f"CC_TLS_CERTIFICATE={path} has an unsupported key type. Use RSA with 2048 bits or more, "
        "P-256, P-384 or Ed25519."
    )


def _context(files: tuple[Path, Path]) -> ssl.SSLContext:
    """Returns a context with the pair in the files. Raises TlsFileError if OpenSSL rejects it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(*files, password="")
    except ssl.SSLError as error:
        if error.reason in _MISMATCHES:
            raise TlsFileError(
                f"CC_TLS_KEY={files[1]} does not match the first certificate in "
                f"CC_TLS_CERTIFICATE={files[0]}. Name files that belong together."
            ) from None
        if error.reason:
            raise TlsFileError(
                f"CC_TLS_CERTIFICATE={files[0]} cannot be served. OpenSSL says: {error.reason}. "
                "Get a new certificate and its chain from a CA."
            ) from None
        raise TlsFileError(
            f"CC_TLS_KEY={files[1]} holds no unencrypted private key in PEM. Remove the "
            "passphrase, or name the right file."
        ) from None
    except OSError:
        raise _being_replaced(files) from None
    return context


def _being_replaced(files: tuple[Path, Path]) -> TlsFileError:
    return TlsFileError(
        f"CC_TLS_CERTIFICATE={files[0]} or CC_TLS_KEY={files[1]} is being replaced. Try again."
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
