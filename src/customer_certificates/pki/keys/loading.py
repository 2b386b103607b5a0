"""Loads a private key whose format is known, unless it is not worth the cost."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
)

from ...errors import Finding
from ..asn1 import ber, pbe
from ..asn1.ber import NotBer
from ..asn1.pbe import Encryption, UnknownAlgorithm, WrongPassphrase
from ..asn1.safes import Encrypted
from ..pem.reader import Block
from ..text import shown
from . import cost_limits
from . import findings as key_findings
from .formats import NotAKey, PlainKey, format_of
from .public_keys import PrivateKey, key_algorithm
from .rsa_numbers import fault


@dataclass(frozen=True, slots=True)
class LegacyEncrypted:
    """An encrypted key of the old kind (RFC 1421, 4.6.1.1). Deriving its key costs one MD5."""

    pem: bytes


KeyFormat = PlainKey | Encryption | LegacyEncrypted

# The ciphers that OpenSSL writes in DEK-Info, with the octets of their initialization vectors.
_LEGACY_CIPHERS = {"AES-128-CBC": 16, "AES-192-CBC": 16, "AES-256-CBC": 16, "DES-EDE3-CBC": 8}


def format_or_finding(block: Block, field: str) -> KeyFormat | Finding:
    """Returns the format of the private key in `block`, or a finding if it has none.

    An empty label means that the block came as DER.
    """
    headers = dict(block.headers)
    if "DEK-Info" in headers:
        return _legacy_encrypted(block, headers["DEK-Info"], field)
    if block.label == "OPENSSH PRIVATE KEY":
        detail = "The private key is an OpenSSH key, which is meant for SSH logins."
        hint = "If it belongs to the certificate, convert it: ssh-keygen -p -m PKCS8 -f key"
        return key_findings.invalid(detail, hint, field)
    try:
        return format_of(block.der)
    except NotAKey as error:
        hint = key_findings.GET_IT_AGAIN
        if "PKCS#12" in str(error):
            hint = "Send it as pkcs12, instead of body and private_key."
        return key_findings.invalid(f"{field} is {error}, not a private key.", hint, field)
    except UnknownAlgorithm as error:
        return key_findings.unknown_encryption(str(error), field)
    except NotBer as error:
        if block.label or block.der[:1] == b"\x30":
            return key_findings.damaged(str(error), field)
        hint = "Send the base64 of the key file: base64 -w0 key.pem"
        return key_findings.invalid(f"{field} is neither PEM nor DER.", hint, field)


def _legacy_encrypted(block: Block, dek_info: str, field: str) -> LegacyEncrypted | Finding:
    cipher, _, iv = dek_info.partition(",")
    if cipher not in _LEGACY_CIPHERS:
        return key_findings.unknown_encryption(shown(cipher), field)
    # A vector that is too short makes the library panic.
    if not re.fullmatch(f"[0-9A-Fa-f]{{{2 * _LEGACY_CIPHERS[cipher]}}}", iv):
        return key_findings.damaged("its initialization vector (DEK-Info) is incomplete", field)
    headers = ("Proc-Type", "4,ENCRYPTED"), ("DEK-Info", dek_info)
    return LegacyEncrypted(replace(block, headers=headers).to_pem().encode())


def load(
    block: Block, key_format: KeyFormat, passphrase: str | None, field: str
) -> PrivateKey | Finding:
    """Returns the key in `block`, or a finding. Never raises.

    The caller must have checked the cost of decryption.
    """
    if isinstance(key_format, PlainKey):
        return _loaded(key_format, field)
    if not passphrase:
        return key_findings.encrypted(field)
    try:
        if isinstance(key_format, LegacyEncrypted):
            der = _decrypted_by_library(load_pem_private_key, key_format.pem, passphrase)
        else:
            ciphertext = ber.only(block.der).children()[1].octets()
            der = decrypted(Encrypted(key_format, ciphertext, block.der), passphrase)
    except UnknownAlgorithm as error:
        return key_findings.unknown_encryption(str(error), field)
    except (WrongPassphrase, NotBer):  # a damaged key looks the same
        return key_findings.passphrase_wrong(field)
    return load_plain(der, field)


def load_plain(der: bytes, field: str) -> PrivateKey | Finding:
    """Returns the unencrypted key in `der`, or a finding if it is unusable. Never raises."""
    key_format = format_or_finding(Block("", der), field)
    if isinstance(key_format, PlainKey):
        return _loaded(key_format, field)
    if isinstance(key_format, Finding):
        return key_format
    detail = "The private key is encrypted twice."
    return key_findings.invalid(detail, key_findings.GET_IT_AGAIN, field)


def decrypted(key: Encrypted, passphrase: str | None) -> bytes:
    """Returns the PKCS#8 key in an EncryptedPrivateKeyInfo.

    The caller must have checked the cost. Raises WrongPassphrase, UnknownAlgorithm.
    """
    if not key.encryption.cipher:
        return _decrypted_by_library(load_der_private_key, key.encoded, passphrase)
    der = key.encryption.decrypt(key.ciphertext, passphrase)
    try:
        ber.only(der).sequence()
    except NotBer as error:
        # One wrong passphrase in 256 gives valid padding; RC4 has no padding.
        raise WrongPassphrase from error
    return der


def pkcs8(key: PrivateKeyTypes) -> bytes:
    """Returns the DER of `key` as unencrypted PKCS#8 (RFC 5958)."""
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _loaded(plain: PlainKey, field: str) -> PrivateKey | Finding:
    if finding := cost_limits.not_worth_loading(plain, field):
        return finding
    if plain.rsa and (reason := fault(plain.rsa)):
        return key_findings.damaged(reason, field)
    try:
        # The library's own validation of an RSA key takes some 50 ms, and blocks everything else.
        key = load_der_private_key(plain.der, None, unsafe_skip_rsa_key_validation=True)
    except UnsupportedAlgorithm:
        detail = "The private key uses an unknown curve."
        return key_findings.invalid(detail, cost_limits.NEW_KEY, field)
    except MemoryError:
        raise
    except Exception:  # any exception of the library is caused by the key
        return key_findings.damaged("its parts are inconsistent, or some are missing", field)
    if not isinstance(key, PrivateKey):
        return cost_limits.unusable(key_algorithm(key.public_key()), field)
    return key


def _decrypted_by_library(
    load_private_key: Callable[..., PrivateKeyTypes], data: bytes, passphrase: str | None
) -> bytes:
    secret = pbe.utf8(passphrase)
    with library_errors():
        return pkcs8(load_private_key(data, secret, unsafe_skip_rsa_key_validation=True))


@contextmanager
def library_errors() -> Iterator[None]:
    """Raises UnknownAlgorithm or WrongPassphrase for the exceptions of a decryption."""
    try:
        yield
    except UnsupportedAlgorithm as error:
        raise UnknownAlgorithm(shown(str(error))) from error
    except MemoryError:
        raise
    except Exception as error:  # damage looks the same as a wrong passphrase
        raise WrongPassphrase from error
