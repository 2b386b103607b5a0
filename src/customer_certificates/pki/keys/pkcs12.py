"""Reads the key and certificates of a PKCS#12 file (RFC 7292), also of old software or in BER."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12

from ...errors import Finding
from ..asn1 import pbe, safes
from ..asn1.ber import NotBer
from ..asn1.pbe import Encryption, Mac, UnknownAlgorithm, WrongPassphrase
from ..asn1.safes import Bags, File, Sealed
from ..pem.markers import is_pem
from ..text import shown
from . import cost_limits
from . import findings as told
from .loading import decrypted, load_plain, pkcs8
from .public_keys import PrivateKey
from .reading import the_one, unarmoured

_FIELD = "pkcs12"
_MOST_CERTIFICATES = 100
_EXPORT = "openssl pkcs12 -export -inkey key.pem -in cert.pem -certfile chain.pem -out new.p12"


@dataclass(frozen=True, slots=True)
class Pkcs12Read:
    """The result of `read_pkcs12`: key, certificates (DER) and findings.

    `key` is None if there is none to use. `keys` are all keys: a Java keystore has one for each
    alias, and then `key` is None.
    """

    key: PrivateKey | None
    certificates: tuple[bytes, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Keystore:
    """All keys and certificates (DER) of a PKCS#12 file, and the findings."""

    keys: tuple[PrivateKey, ...]
    certificates: tuple[bytes, ...]
    findings: tuple[Finding, ...]


def read_pkcs12(data: bytes, passphrase: str | None) -> Pkcs12Read:
    """Returns the key and certificates of the PKCS#12 file `data`. Never raises.

    Its findings are those of `read_keystore`, and `key_invalid` for several different keys.
    """
    store = read_keystore(data, passphrase)
    key, findings = the_one(store.keys, store.findings, _FIELD)
    return Pkcs12Read(key, store.certificates, findings)


def read_keystore(data: bytes, passphrase: str | None) -> Keystore:
    """Returns the content of the PKCS#12 file `data`. Never raises.

    Costs are checked before anything is decrypted, and again for encrypted parts within decrypted
    ones. Without a passphrase, an empty one and none are both tried. Findings: `key_invalid` (also
    if it is not a PKCS#12 file), `key_too_costly`, `key_weak`, `no_leaf`, `pem_invalid` (too many
    certificates), `key_encrypted`, `passphrase_wrong`, and as information `base64_twice`.
    """
    findings: list[Finding] = []
    decoded = None if data[:1] == b"\x30" else unarmoured(data)
    if decoded and decoded[:1] == b"\x30":
        data = decoded
        findings.append(told.base64_twice(_FIELD))
    bags = _bags(data, passphrase)
    if isinstance(bags, Finding):
        return Keystore((), (), (*findings, bags))
    if not bags.keys:
        findings.append(_no_key())
    if not bags.certificates:
        findings.append(_no_certificate())
    if len(bags.certificates) > _MOST_CERTIFICATES:
        findings.append(_too_many())
    keys: list[PrivateKey] = []
    for one in dict.fromkeys(bags.keys):
        loaded = load_plain(one, _FIELD)
        if isinstance(loaded, Finding):
            findings.append(loaded)
        else:
            keys.append(loaded)
    return Keystore(tuple(keys), bags.certificates[:_MOST_CERTIFICATES], tuple(findings))


def _bags(data: bytes, passphrase: str | None) -> Bags | Finding:
    """Returns the content of the file with all keys decrypted, or a finding."""
    try:
        file = safes.read_file(data)
        if passphrase:
            return _opened(file, passphrase)
        return _opened_without_passphrase(file)
    except UnknownAlgorithm as error:
        return told.unknown_encryption(str(error), _FIELD)
    except NotBer as error:
        return _not_pkcs12(data, error)
    except _TooCostly as error:
        return error.finding
    except WrongPassphrase:
        pass
    return told.passphrase_wrong(_FIELD) if passphrase else told.encrypted(_FIELD)


def _opened_without_passphrase(file: File) -> Bags:
    """Tries the two encodings of no passphrase: software differs (RFC 7292, appendix B.1)."""
    try:
        return _opened(file, "")
    except WrongPassphrase:
        spent = [file.mac] if file.mac else _encryptions(file.sealed_safes, file.bags.sealed_keys)
    try:
        return _opened(file, None, spent)
    except _TooCostly as error:
        # It has a passphrase, or costs too much for guesses.
        raise WrongPassphrase from error


def _encryptions(*sealed: Sequence[Sealed]) -> list[Encryption | Mac]:
    return [one.encryption for several in sealed for one in several]


def _opened(file: File, passphrase: str | None, spent: Sequence[Encryption | Mac] = ()) -> Bags:
    """Returns all bags of `file`. The cost `spent` before counts too."""
    costs_of_all = [*spent, *_encryptions(file.sealed_safes, file.bags.sealed_keys)]
    if file.mac:
        costs_of_all.append(file.mac)
    _refuse_costly(costs_of_all)
    if file.mac and not file.mac.matches(file.content, passphrase):
        raise WrongPassphrase
    found = Bags()
    for sealed in file.sealed_safes:
        found += _safe(sealed, passphrase)
    # The costs of encrypted keys are known only now.
    _refuse_costly(costs_of_all + _encryptions(found.sealed_keys))
    bags = file.bags + found
    opened = tuple(decrypted(sealed, passphrase) for sealed in bags.sealed_keys)
    return Bags(bags.certificates, bags.keys + opened)


class _TooCostly(Exception):  # noqa: N818 - it carries a finding
    def __init__(self, finding: Finding) -> None:
        self.finding = finding


def _refuse_costly(sealed: Sequence[Encryption | Mac]) -> None:
    if finding := cost_limits.too_costly(sealed, _FIELD):
        raise _TooCostly(finding)


def _safe(sealed: Sealed, passphrase: str | None) -> Bags:
    if not sealed.encryption.cipher:
        return _safe_through_the_library(sealed, passphrase)
    plain = sealed.encryption.decrypt(sealed.ciphertext, passphrase)
    try:
        return safes.read_bags(plain)
    except NotBer as error:
        # One wrong passphrase in 256 gives valid padding.
        raise WrongPassphrase from error


def _safe_through_the_library(sealed: Sealed, passphrase: str | None) -> Bags:
    """Returns the content of a safe encrypted with 40-bit RC2, as software before 2021 does.

    An encrypted key in such a safe is loaded before its cost is known. No software writes one.
    """
    secret = None if passphrase is None else pbe.utf8(passphrase)
    try:
        # The library warns of unusual but readable content.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read = pkcs12.load_pkcs12(safes.file_of_safe(sealed, passphrase), secret)
            found = [*([read.cert] if read.cert else []), *read.additional_certs]
            certificates = tuple(one.certificate.public_bytes(Encoding.DER) for one in found)
            keys = (pkcs8(read.key),) if read.key else ()
    except UnsupportedAlgorithm as error:
        raise UnknownAlgorithm(shown(str(error))) from error
    except MemoryError:
        raise
    except Exception as error:  # damage looks the same as a wrong passphrase
        raise WrongPassphrase from error
    return Bags(certificates, keys)


def _not_pkcs12(data: bytes, error: NotBer) -> Finding:
    hint = f"Create a new file: {_EXPORT}"
    if is_pem(data):
        detail, hint = "pkcs12 is PEM.", "Send it as body, and its key as private_key."
    elif not data:
        detail = "pkcs12 is empty."
    else:
        detail = f"pkcs12 is not a readable PKCS#12 file: {error}."
    return told.invalid(detail, hint, _FIELD)


def _no_key() -> Finding:
    return told.invalid(
        "pkcs12 contains no private key.", f"Export it together with its key: {_EXPORT}", _FIELD
    )


def _no_certificate() -> Finding:
    return Finding(
        "no_leaf",
        _FIELD,
        "pkcs12 contains no certificate.",
        f"Export the key together with its certificate: {_EXPORT}",
    )


def _too_many() -> Finding:
    return Finding(
        "pem_invalid",
        _FIELD,
        f"pkcs12 has more than {_MOST_CERTIFICATES} certificates. The service ignored the rest.",
        "Send one certificate and its intermediates, not a whole trust store.",
    )
