"""The structure of a PKCS#12 file (RFC 7292, 4): safes with bags, some encrypted."""

from collections.abc import Iterator
from dataclasses import dataclass

from . import ber, pbe
from .ber import Element, NotBer
from .pbe import Encryption, Mac

_DATA, _ENCRYPTED_DATA = "1.2.840.113549.1.7.1", "1.2.840.113549.1.7.6"
_DATA_OID = ber.encode(ber.OID, bytes.fromhex("2a864886f70d010701"))
_BAGS = "1.2.840.113549.1.12.10.1."
_KEY, _SHROUDED_KEY, _CERTIFICATE, _SAFE = (f"{_BAGS}{number}" for number in (1, 2, 3, 6))
_X509_CERTIFICATE = "1.2.840.113549.1.9.22.1"
_VERSION = 3
_DEEPEST = 8
# The identifier of [0].
_EXPLICIT = 0xA0


@dataclass(frozen=True, slots=True)
class Encrypted:
    """Encrypted content: the encryption, the ciphertext, and the structure around both."""

    encryption: Encryption
    ciphertext: bytes
    encoded: bytes


@dataclass(frozen=True, slots=True)
class Bags:
    """The content of a safe: certificates (DER), keys (PKCS#8), and encrypted keys."""

    certificates: tuple[bytes, ...] = ()
    keys: tuple[bytes, ...] = ()
    encrypted_keys: tuple[Encrypted, ...] = ()

    def __add__(self, other: "Bags") -> "Bags":
        return Bags(
            self.certificates + other.certificates,
            self.keys + other.keys,
            self.encrypted_keys + other.encrypted_keys,
        )


@dataclass(frozen=True, slots=True)
class Pkcs12File:
    """A PKCS#12 file: its unencrypted bags, its encrypted safes, and its MAC of `content`."""

    bags: Bags
    encrypted_safes: tuple[Encrypted, ...]
    content: bytes
    mac: Mac | None


def read_file(data: bytes) -> Pkcs12File:
    """Parses `data` without decrypting it. Raises NotBer or `pbe.UnknownAlgorithm`."""
    version, content_info, *mac = ber.only(data).sequence(2)
    if version.integer() != _VERSION:
        raise NotBer("its version is not 3")
    kind, value = _content(content_info)
    if kind != _DATA:
        raise NotBer("it is protected by a public key, not by a passphrase")
    content = value.octets()
    bags, encrypted_safes = Bags(), list[Encrypted]()
    for info in ber.only(content).sequence():
        kind, value = _content(info)
        if kind == _DATA:
            bags += read_bags(value.octets())
        elif kind == _ENCRYPTED_DATA:
            _, encrypted = value.sequence(2)[:2]
            _, algorithm, ciphertext = encrypted.sequence(3)[:3]
            encrypted_safes.append(_encrypted(algorithm, ciphertext, info))
        else:
            raise NotBer(f"it has a safe of an unknown kind ({kind})")
    return Pkcs12File(bags, tuple(encrypted_safes), content, pbe.read_mac(mac[0]) if mac else None)


def read_bags(safe_contents: bytes) -> Bags:
    """Returns the bags of a safe. Raises NotBer or `pbe.UnknownAlgorithm`.

    Revocation lists, secrets and unknown bags are ignored.
    """
    certificates, keys, encrypted_keys = list[bytes](), list[bytes](), list[Encrypted]()
    for kind, value in _bags(ber.only(safe_contents), _DEEPEST):
        if kind == _CERTIFICATE:
            certificate_kind, certificate = _content(value)
            if certificate_kind == _X509_CERTIFICATE:
                certificates.append(certificate.octets())
        elif kind == _KEY:
            keys.append(bytes(value.encoded))
        elif kind == _SHROUDED_KEY:
            algorithm, ciphertext = value.sequence(2)[:2]
            encrypted_keys.append(_encrypted(algorithm, ciphertext, value))
    return Bags(tuple(certificates), tuple(keys), tuple(encrypted_keys))


def file_of_safe(safe: Encrypted, passphrase: str | None) -> bytes:
    """Returns a PKCS#12 file with only one encrypted safe.

    Readers need its MAC to tell an empty passphrase from none.
    """
    safes = ber.encode(ber.SEQUENCE, safe.encoded)
    content = ber.encode(_EXPLICIT, ber.encode(ber.OCTET_STRING, safes))
    info = ber.encode(ber.SEQUENCE, _DATA_OID, content)
    version = ber.encode(ber.INTEGER, bytes([_VERSION]))
    return ber.encode(ber.SEQUENCE, version, info, pbe.mac_data(safes, passphrase))


def _bags(safe_contents: Element, depth: int) -> Iterator[tuple[str, Element]]:
    if not depth:
        raise NotBer("its safes are nested too deeply")
    for bag in safe_contents.sequence():
        kind, value = _content(bag)
        if kind == _SAFE:
            yield from _bags(value, depth - 1)
        else:
            yield kind, value


def _encrypted(algorithm: Element, ciphertext: Element, whole: Element) -> Encrypted:
    encryption = pbe.read_encryption(algorithm)
    return Encrypted(encryption, ciphertext.octets(), bytes(whole.encoded))


def _content(element: Element) -> tuple[str, Element]:
    """Returns the OID at the start of an element, and the content of the [0] after it."""
    kind, explicit = element.sequence(2)[:2]
    children = explicit.children()
    if explicit.tag != _EXPLICIT or not children:
        raise NotBer("a part is missing")
    return kind.oid(), children[0]
