"""Loads a private key whose form is known, unless it is not worth the cost."""

import re
from collections.abc import Callable
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
from ..asn1.safes import Sealed
from ..pem.reader import Block
from ..text import shown
from . import cost_limits
from . import findings as told
from .formats import NotAKey, Plain, form_of
from .public_keys import PrivateKey, key_algorithm
from .rsa_numbers import fault


@dataclass(frozen=True, slots=True)
class OldSealed:
    """An encrypted key of the old kind (RFC 1421, 4.6.1.1). Deriving its key costs one MD5."""

    pem: bytes


Form = Plain | Encryption | OldSealed

# The ciphers that OpenSSL writes in DEK-Info, with the octets of their initialization vectors.
_OLD_CIPHERS = {
    "AES-128-CBC": 16,
    "AES-192-CBC": 16,
    "AES-256-CBC": 16,
    "DES-EDE3-CBC": 8,
}


def form_or_fault(block: Block, field: str) -> Form | Finding:
    """Returns the form of the private key in `block`, or a finding if it has none.

    An empty label means that the block came as DER.
    """
    headers = dict(block.headers)
    if "DEK-Info" in headers:
        return _old_sealed(block, headers["DEK-Info"], field)
    if block.label == "OPENSSH PRIVATE KEY":
        return told.invalid(
            "The private key is an OpenSSH key, which is meant for SSH logins.",
            "If it belongs to the certificate, convert it: ssh-keygen -p -m PKCS8 -f key",
            field,
        )
    try:
        return form_of(block.der)
    except NotAKey as error:
        hint = told.GET_IT_AGAIN
        if "PKCS#12" in str(error):
            hint = "Send it as pkcs12, instead of body and private_key."
        return told.invalid(f"{field} is {error}, not a private key.", hint, field)
    except UnknownAlgorithm as error:
        return told.unknown_encryption(str(error), field)
    except NotBer as error:
        if not block.label and block.der[:1] != b"\x30":
            return told.invalid(
                f"{field} is neither PEM nor DER.",
                "Send the base64 of the key file: base64 -w0 key.pem",
                field,
            )
        return told.damaged(str(error), field)


def _old_sealed(block: Block, dek_info: str, field: str) -> OldSealed | Finding:
    cipher, _, iv = dek_info.partition(",")
    if cipher not in _OLD_CIPHERS:
        return told.unknown_encryption(shown(cipher), field)
    # A vector that is too short makes the library panic.
    if not re.fullmatch(f"[0-9A-Fa-f]{{{2 * _OLD_CIPHERS[cipher]}}}", iv):
        return told.damaged("its initialization vector (DEK-Info) is incomplete", field)
    headers = ("Proc-Type", "4,ENCRYPTED"), ("DEK-Info", dek_info)
    return OldSealed(replace(block, headers=headers).to_pem().encode())


def load(block: Block, form: Form, passphrase: str | None, field: str) -> PrivateKey | Finding:
    """Returns the key in `block`, which has this `form`, or a finding. Never raises.

    The caller must have checked the cost of decryption.
    """
    if isinstance(form, Plain):
        return _loaded(form, field)
    return _decrypted(block.der, form, passphrase, field)


def load_plain(der: bytes, field: str) -> PrivateKey | Finding:
    """Returns the unencrypted key in `der`, or a finding if it is unusable. Never raises."""
    form = form_or_fault(Block("", der), field)
    if isinstance(form, Finding):
        return form
    if not isinstance(form, Plain):
        return told.invalid("The private key is encrypted twice.", told.GET_IT_AGAIN, field)
    return _loaded(form, field)


def decrypted(sealed: Sealed, passphrase: str | None) -> bytes:
    """Returns the PKCS#8 key in an EncryptedPrivateKeyInfo.

    The caller must have checked the cost. Raises WrongPassphrase, UnknownAlgorithm.
    """
    if sealed.encryption.cipher:
        plain = sealed.encryption.decrypt(sealed.ciphertext, passphrase)
        if not _is_one_sequence(plain):
            # One wrong passphrase in 256 gives valid padding; RC4 has no padding.
            raise WrongPassphrase
        return plain
    return _through_the_library(load_der_private_key, sealed.encoded, passphrase)


def pkcs8(key: PrivateKeyTypes) -> bytes:
    """Returns the DER of `key` as unencrypted PKCS#8 (RFC 5958)."""
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _loaded(form: Plain, field: str) -> PrivateKey | Finding:
    if refused := cost_limits.not_worth_loading(form, field):
        return refused
    if form.rsa and (wrong := fault(form.rsa)):
        return told.damaged(wrong, field)
    try:
        # The library's own validation of an RSA key takes some 50 ms, and blocks everything else.
        key = load_der_private_key(form.der, None, unsafe_skip_rsa_key_validation=True)
    except UnsupportedAlgorithm:
        return told.invalid("The private key uses an unknown curve.", cost_limits.NEW_KEY, field)
    except MemoryError:
        raise
    except Exception:  # any exception of the library is caused by the key
        return told.damaged("its parts are inconsistent, or some are missing", field)
    if not isinstance(key, PrivateKey):
        return cost_limits.unusable(key_algorithm(key.public_key()), field)
    return key


def _decrypted(
    der: bytes, form: Encryption | OldSealed, passphrase: str | None, field: str
) -> PrivateKey | Finding:
    if not passphrase:
        return told.encrypted(field)
    try:
        if isinstance(form, OldSealed):
            plain = _through_the_library(load_pem_private_key, form.pem, passphrase)
        else:
            ciphertext = ber.only(der).children()[1].octets()
            plain = decrypted(Sealed(form, ciphertext, der), passphrase)
    except UnknownAlgorithm as error:
        return told.unknown_encryption(str(error), field)
    except (WrongPassphrase, NotBer):  # a damaged key looks the same
        return told.passphrase_wrong(field)
    return load_plain(plain, field)


def _is_one_sequence(der: bytes) -> bool:
    try:
        return ber.only(der).tag == ber.SEQUENCE
    except NotBer:
        return False


def _through_the_library(
    load_private_key: Callable[..., PrivateKeyTypes], data: bytes, passphrase: str | None
) -> bytes:
    try:
        return pkcs8(
            load_private_key(data, pbe.utf8(passphrase), unsafe_skip_rsa_key_validation=True)
        )
    except UnsupportedAlgorithm as error:
        raise UnknownAlgorithm(shown(str(error))) from error
    except MemoryError:
        raise
    except Exception as error:  # damage looks the same as a wrong passphrase
        raise WrongPassphrase from error
