"""A private key loaded from what was found of it, without paying for what is not worth it."""

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
    """An encrypted key of the old kind (RFC 1421, 4.6.1.1): its key costs one MD5 to derive."""

    pem: bytes


Form = Plain | Encryption | OldSealed

# What OpenSSL writes in DEK-Info, and the octets of its initialisation vector.
_OLD_CIPHERS = {
    "AES-128-CBC": 16,
    "AES-192-CBC": 16,
    "AES-256-CBC": 16,
    "DES-EDE3-CBC": 8,
}


def form_or_fault(block: Block, field: str) -> Form | Finding:
    """What kind of private key `block` is (its label empty: it was DER), or why it is none."""
    headers = dict(block.headers)
    if "DEK-Info" in headers:
        return _old_sealed(block, headers["DEK-Info"], field)
    if block.label == "OPENSSH PRIVATE KEY":
        return told.invalid(
            "The private key is in the format of OpenSSH, which is for logging in.",
            "If it is the certificate's, convert it: ssh-keygen -p -m PKCS8 -f key",
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
                "Send the base64 of the key's file: base64 -w0 key.pem",
                field,
            )
        return told.damaged(str(error), field)


def _old_sealed(block: Block, dek_info: str, field: str) -> OldSealed | Finding:
    cipher, _, iv = dek_info.partition(",")
    if cipher not in _OLD_CIPHERS:
        return told.unknown_encryption(shown(cipher), field)
    # The library's process panics at one that is too short.
    if not re.fullmatch(f"[0-9A-Fa-f]{{{2 * _OLD_CIPHERS[cipher]}}}", iv):
        return told.damaged("its initialisation vector (DEK-Info) is not whole", field)
    headers = ("Proc-Type", "4,ENCRYPTED"), ("DEK-Info", dek_info)
    return OldSealed(replace(block, headers=headers).to_pem().encode())


def load(block: Block, form: Form, passphrase: str | None, field: str) -> PrivateKey | Finding:
    """The key that `block` of this `form` holds, or why it cannot be had; never raises.

    What it costs to decrypt must have been looked at.
    """
    if isinstance(form, Plain):
        return _loaded(form, field)
    return _decrypted(block.der, form, passphrase, field)


def load_plain(der: bytes, field: str) -> PrivateKey | Finding:
    """The key that `der`, not encrypted, holds, or why it cannot be used; never raises."""
    form = form_or_fault(Block("", der), field)
    if isinstance(form, Finding):
        return form
    if not isinstance(form, Plain):
        return told.invalid("The private key is encrypted twice.", told.GET_IT_AGAIN, field)
    return _loaded(form, field)


def decrypted(sealed: Sealed, passphrase: str | None) -> bytes:
    """The key that an EncryptedPrivateKeyInfo holds, as PKCS#8.

    What that costs must have been looked at. Raises WrongPassphrase, UnknownAlgorithm.
    """
    if sealed.encryption.cipher:
        plain = sealed.encryption.decrypt(sealed.ciphertext, passphrase)
        if not _is_one_sequence(plain):
            # One wrong passphrase in 256 leaves what looks like padding; RC4 has none.
            raise WrongPassphrase
        return plain
    return _through_the_library(load_der_private_key, sealed.encoded, passphrase)


def pkcs8(key: PrivateKeyTypes) -> bytes:
    """The DER of `key` as PKCS#8 (RFC 5958), not encrypted."""
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _loaded(form: Plain, field: str) -> PrivateKey | Finding:
    if refused := cost_limits.not_worth_loading(form, field):
        return refused
    if form.rsa and (wrong := fault(form.rsa)):
        return told.damaged(wrong, field)
    try:
        # The library's own validation of an RSA key takes some 50 ms, in which nothing else runs.
        key = load_der_private_key(form.der, None, unsafe_skip_rsa_key_validation=True)
    except UnsupportedAlgorithm:
        return told.invalid(
            "The private key is on a curve that is not known.", cost_limits.NEW_KEY, field
        )
    except MemoryError:
        raise
    except Exception:  # whatever the library raises, it was the key's doing
        return told.damaged("its parts do not fit together, or some are missing", field)
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
    except (WrongPassphrase, NotBer):  # nothing tells the one from a key that is damaged
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
    except Exception as error:  # nothing tells a wrong passphrase from damage
        raise WrongPassphrase from error
