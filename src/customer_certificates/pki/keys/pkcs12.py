"""Reads the keys and certificates of a PKCS#12 file (RFC 7292), also of old software or in BER."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.serialization import Encoding, pkcs12

from ...errors import Finding
from ..asn1 import pbe, safes
from ..asn1.ber import NotBer
from ..asn1.pbe import Encryption, Mac, UnknownAlgorithm, WrongPassphrase
from ..asn1.safes import Bags, Encrypted, Pkcs12File
from ..pem.markers import is_pem
from . import cost_limits
from . import findings as key_findings
from .loading import decrypted, library_errors, load_plain, pkcs8
from .public_keys import PrivateKey
from .reading import KeyRead, only_key, unwrap_base64

_FIELD = "pkcs12"
_MOST_CERTIFICATES = 100
_EXPORT = "openssl pkcs12 -export -inkey key.pem -in cert.pem -certfile chain.pem -out new.p12"


@dataclass(frozen=True, slots=True)
class Pkcs12Read(KeyRead):
    """The key, None if there is none to use or keys differ; the findings; certificates (DER)."""

    certificates: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Keystore:
    """All keys and certificates (DER) of a PKCS#12 file, and the findings.

    A Java keystore has a key for each alias.
    """

    keys: tuple[PrivateKey, ...]
    certificates: tuple[bytes, ...]
    findings: tuple[Finding, ...]


def read_pkcs12(data: bytes, passphrase: str | None) -> Pkcs12Read:
    """Returns the key and certificates of the PKCS#12 file `data`. Never raises.

    Its findings are those of `read_keystore`, and `key_invalid` for several different keys.
    """
    store = read_keystore(data, passphrase)
    return Pkcs12Read(*only_key(store.keys, store.findings, _FIELD), store.certificates)


def read_keystore(data: bytes, passphrase: str | None) -> Keystore:
    """Returns the content of the PKCS#12 file `data`. Never raises.

    Costs are checked before anything is decrypted, and again for encrypted parts within decrypted
    ones. Without a passphrase, an empty one and none are both tried. Findings: `key_invalid` (also
    if it is not a PKCS#12 file), `key_too_costly`, `key_weak`, `no_leaf`, `pem_invalid` (too many
    certificates), `key_encrypted`, `passphrase_wrong`, and as information `base64_twice`.
    """
    findings: list[Finding] = []
    decoded = unwrap_base64(data)
    if decoded and not is_pem(decoded):
        data = decoded
        findings.append(key_findings.base64_twice(_FIELD))
    bags = _bags(data, passphrase)
    if isinstance(bags, Finding):
        return Keystore((), (), (*findings, bags))
    findings += _content_findings(bags)
    loaded = [load_plain(key, _FIELD) for key in dict.fromkeys(bags.keys)]
    findings += [key for key in loaded if isinstance(key, Finding)]
    keys = tuple(key for key in loaded if not isinstance(key, Finding))
    return Keystore(keys, bags.certificates[:_MOST_CERTIFICATES], tuple(findings))


def _bags(data: bytes, passphrase: str | None) -> Bags | Finding:
    """Returns the content of the file with all keys decrypted, or a finding."""
    try:
        file = safes.read_file(data)
        return _opened(file, passphrase) if passphrase else _opened_without_passphrase(file)
    except UnknownAlgorithm as error:
        return key_findings.unknown_encryption(str(error), _FIELD)
    except NotBer as error:
        return _not_pkcs12(data, error)
    except _TooCostly as error:
        return error.finding
    except WrongPassphrase:
        if passphrase:
            return key_findings.passphrase_wrong(_FIELD)
        return key_findings.encrypted(_FIELD)


def _opened_without_passphrase(file: Pkcs12File) -> Bags:
    """Tries the two encodings of no passphrase: software differs (RFC 7292, appendix B.1)."""
    try:
        return _opened(file, "")
    except WrongPassphrase:
        spent = [file.mac] if file.mac else _encryptions(file)
    try:
        return _opened(file, None, spent)
    except _TooCostly as error:
        # It has a passphrase, or costs too much for guesses.
        raise WrongPassphrase from error


def _encryptions(file: Pkcs12File) -> list[Encryption | Mac]:
    return [part.encryption for part in (*file.encrypted_safes, *file.bags.encrypted_keys)]


def _opened(
    file: Pkcs12File, passphrase: str | None, spent: Sequence[Encryption | Mac] = ()
) -> Bags:
    """Returns all bags of `file`. The cost `spent` before counts too."""
    costs = [*spent, *_encryptions(file), *([file.mac] if file.mac else ())]
    _refuse_costly(costs)
    if file.mac and not file.mac.matches(file.content, passphrase):
        raise WrongPassphrase
    from_safes = Bags()
    for safe in file.encrypted_safes:
        from_safes += _opened_safe(safe, passphrase)
    # The costs of encrypted keys are known only now.
    _refuse_costly([*costs, *(key.encryption for key in from_safes.encrypted_keys)])
    bags = file.bags + from_safes
    keys = tuple(decrypted(key, passphrase) for key in bags.encrypted_keys)
    return Bags(bags.certificates, bags.keys + keys)


class _TooCostly(Exception):  # noqa: N818 - it carries a finding
    def __init__(self, finding: Finding) -> None:
        self.finding = finding


def _refuse_costly(costs: Sequence[Encryption | Mac]) -> None:
    if finding := cost_limits.too_costly(costs, _FIELD):
        raise _TooCostly(finding)


def _opened_safe(safe: Encrypted, passphrase: str | None) -> Bags:
    if not safe.encryption.cipher:
        return _opened_by_library(safe, passphrase)
    try:
        return safes.read_bags(safe.encryption.decrypt(safe.ciphertext, passphrase))
    except NotBer as error:
        # One wrong passphrase in 256 gives valid padding.
        raise WrongPassphrase from error


def _opened_by_library(safe: Encrypted, passphrase: str | None) -> Bags:
    """Returns the content of a safe encrypted with 40-bit RC2, as software before 2021 does.

    An encrypted key in such a safe is loaded before its cost is known. No software writes one.
    """
    secret = None if passphrase is None else pbe.utf8(passphrase)
    # The library warns of unusual but readable content.
    with library_errors(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = pkcs12.load_pkcs12(safes.file_of_safe(safe, passphrase), secret)
        found = [*([read.cert] if read.cert else []), *read.additional_certs]
        ders = (entry.certificate.public_bytes(Encoding.DER) for entry in found)
        return Bags(tuple(ders), (pkcs8(read.key),) if read.key else ())


def _not_pkcs12(data: bytes, error: NotBer) -> Finding:
    hint = f"Create a new file: {_EXPORT}"
    if is_pem(data):
        detail, hint = "pkcs12 is PEM.", "Send it as body, and its key as private_key."
    elif not data:
        detail = "pkcs12 is empty."
    else:
        detail = f"pkcs12 is not a readable PKCS#12 file: {error}."
    return key_findings.invalid(detail, hint, _FIELD)


def _content_findings(bags: Bags) -> list[Finding]:
    findings = list[Finding]()
    if not bags.keys:
        hint = f"Export it together with its key: {_EXPORT}"
        findings.append(key_findings.invalid("pkcs12 contains no private key.", hint, _FIELD))
    if not bags.certificates:
        hint = f"Export the key together with its certificate: {_EXPORT}"
        findings.append(Finding("no_leaf", _FIELD, "pkcs12 contains no certificate.", hint))
    if len(bags.certificates) > _MOST_CERTIFICATES:
        detail = (
            f"pkcs12 has more than {_MOST_CERTIFICATES} certificates. The service ignored the rest."
        )
        hint = "Send one certificate and its intermediates, not a whole trust store."
        findings.append(Finding("pem_invalid", _FIELD, detail, hint))
    return findings
