"""Encryption and authentication with a passphrase: RFC 8018, RFC 7292, RFC 7914, RFC 9579.

The parameters of every algorithm can be checked before any costly computation.
"""

import codecs
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4, RC2, TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt as ScryptKdf
from cryptography.hazmat.primitives.padding import PKCS7

from . import ber
from .ber import Element, NotBer

# Looked up here: the process that reads keys cannot open files, and looking up a codec opens one.
_UTF_16 = codecs.lookup("utf-16-be")

_Algorithm = type[AES] | type[TripleDES] | type[RC2] | type[ARC4]

_PBES2, _PBMAC1 = "1.2.840.113549.1.5.13", "1.2.840.113549.1.5.14"
_PBKDF2, _SCRYPT = "1.2.840.113549.1.5.12", "1.3.6.1.4.1.11591.4.11"
_HASHES = {
    "1.3.14.3.2.26": "sha1",
    "2.16.840.1.101.3.4.2.4": "sha224",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
_HMACS = {
    "1.2.840.113549.2.7": "sha1",
    "1.2.840.113549.2.8": "sha224",
    "1.2.840.113549.2.9": "sha256",
    "1.2.840.113549.2.10": "sha384",
    "1.2.840.113549.2.11": "sha512",
}
# PBES2's ciphers, with the octets of a key (RFC 8018, appendix B.2).
_CIPHERS: dict[str, tuple[_Algorithm, int]] = {
    "2.16.840.1.101.3.4.1.2": (AES, 16),
    "2.16.840.1.101.3.4.1.22": (AES, 24),
    "2.16.840.1.101.3.4.1.42": (AES, 32),
    "1.2.840.113549.3.7": (TripleDES, 24),
}
# RFC 7292, appendix C, and RFC 8018, appendix A.3. `cryptography` supports those without a cipher
# here only in its readers of keys and PKCS#12.
_OLD_CIPHERS: dict[str, tuple[_Algorithm | None, int]] = {
    "1.2.840.113549.1.12.1.1": (ARC4, 16),
    "1.2.840.113549.1.12.1.2": (ARC4, 5),
    "1.2.840.113549.1.12.1.3": (TripleDES, 24),
    "1.2.840.113549.1.12.1.4": (TripleDES, 16),
    "1.2.840.113549.1.12.1.5": (RC2, 16),
    "1.2.840.113549.1.12.1.6": (None, 5),
    "1.2.840.113549.1.5.3": (None, 8),
}
_DIGEST_OCTETS = {"sha1": 20, "sha224": 28, "sha256": 32, "sha384": 48, "sha512": 64}
_IV_OCTETS = 8
_MOST_KEY_OCTETS = 64
# RFC 7292, appendix B.3: the purpose of a derived key.
_FOR_KEY, _FOR_IV, _FOR_MAC = 1, 2, 3


class UnknownAlgorithm(Exception):  # noqa: N818 - a finding, not an error
    """The encryption algorithm is unknown; the message is its OID."""


class WrongPassphrase(Exception):  # noqa: N818 - a finding, not an error
    """Decryption with this passphrase gives no valid data."""


@dataclass(frozen=True, slots=True)
class Pbkdf2:
    """RFC 8018, 5.2, with HMAC over `hash`."""

    salt: bytes
    iterations: int
    hash: str

    def rounds(self, octets: int) -> int:
        """Returns the hash iterations for a key of `octets`, which is derived in blocks."""
        return self.iterations * -(-octets // _DIGEST_OCTETS[self.hash])

    def derive(self, passphrase: str | None, octets: int) -> bytes:
        """Returns a key of `octets`."""
        secret = utf8(passphrase)
        return hashlib.pbkdf2_hmac(self.hash, secret, self.salt, self.iterations, octets)


@dataclass(frozen=True, slots=True)
class Scrypt:
    """RFC 7914: cost `n`, block size `r`, parallelization `p`."""

    salt: bytes
    n: int
    r: int
    p: int

    def derive(self, passphrase: str | None, octets: int) -> bytes:
        """Returns a key of `octets`."""
        return ScryptKdf(self.salt, octets, self.n, self.r, self.p).derive(utf8(passphrase))


@dataclass(frozen=True, slots=True)
class Old:
    """The derivations of PKCS#12 (RFC 7292, appendix B) and of PBES1 (RFC 8018, 5.1)."""

    salt: bytes
    iterations: int
    hash: str = "sha1"

    def rounds(self, octets: int) -> int:
        """Returns the hash iterations for a key of `octets`."""
        return self.iterations * -(-octets // _DIGEST_OCTETS[self.hash])

    def derive(self, passphrase: str | None, octets: int, purpose: int) -> bytes:
        """Returns a PKCS#12 key of `octets` for `purpose`; None as passphrase differs from ""."""
        # Calling it by name takes a third of the time of `hashlib.new`.
        hashed: Callable[..., hashlib._Hash] = getattr(hashlib, self.hash)
        block = hashed().block_size
        secret = b""
        if passphrase is not None:
            secret = _UTF_16.encode(passphrase, "surrogatepass")[0] + b"\0\0"
        chained = _filled(self.salt, block) + _filled(secret, block)
        made = b""
        while len(made) < octets:
            digest = bytes([purpose]) * block + chained
            for _ in range(self.iterations):
                digest = hashed(digest).digest()
            made += digest
            added = int.from_bytes(_filled(digest, block)) + 1
            chained = b"".join(
                _plus(chained[at : at + block], added) for at in range(0, len(chained), block)
            )
        return made[:octets]


Derivation = Pbkdf2 | Scrypt | Old


@dataclass(frozen=True, slots=True)
class Encryption:
    """An encryption. `cipher` is None if this module cannot decrypt it."""

    derivation: Derivation
    cipher: _Algorithm | None
    key_octets: int = 0
    iv: bytes | None = None

    @property
    def rounds(self) -> int:
        """Returns the hash iterations of a decryption; none for scrypt, which has other costs."""
        if isinstance(self.derivation, Scrypt):
            return 0
        rounds = self.derivation.rounds(self.key_octets)
        if isinstance(self.derivation, Old) and self.cipher is not ARC4:
            rounds += self.derivation.rounds(_IV_OCTETS)
        return rounds

    def decrypt(self, ciphertext: bytes, passphrase: str | None) -> bytes:
        """Returns the decrypted data. Raises WrongPassphrase, and UnknownAlgorithm without a
        `cipher`."""
        if self.cipher is None:
            raise UnknownAlgorithm("an algorithm that cannot be decrypted here")
        if isinstance(self.derivation, Old):
            key = self.derivation.derive(passphrase, self.key_octets, _FOR_KEY)
            if self.cipher is ARC4:
                return Cipher(ARC4(key), None).decryptor().update(ciphertext)
            iv = self.derivation.derive(passphrase, _IV_OCTETS, _FOR_IV)
        else:
            key = self.derivation.derive(passphrase, self.key_octets)
            iv = self.iv or b""
        if self.cipher is TripleDES and len(key) == 16:
            key += key[:8]
        try:
            decryptor = Cipher(self.cipher(key), modes.CBC(iv)).decryptor()
            padded = decryptor.update(ciphertext) + decryptor.finalize()
            unpadder = PKCS7(8 * len(iv)).unpadder()
            return unpadder.update(padded) + unpadder.finalize()
        except ValueError as error:
            raise WrongPassphrase from error


@dataclass(frozen=True, slots=True)
class Mac:
    """The MAC of a PKCS#12 file (RFC 7292, 4; PBMAC1: RFC 9579)."""

    derivation: Derivation
    hash: str
    key_octets: int
    digest: bytes

    @property
    def rounds(self) -> int:
        """Returns the hash iterations to derive the key; none for scrypt."""
        if isinstance(self.derivation, Scrypt):
            return 0
        return self.derivation.rounds(self.key_octets)

    def matches(self, content: bytes, passphrase: str | None) -> bool:
        """Returns whether `content` was authenticated with this passphrase."""
        if isinstance(self.derivation, Old):
            key = self.derivation.derive(passphrase, self.key_octets, _FOR_MAC)
        else:
            key = self.derivation.derive(passphrase, self.key_octets)
        return hmac.compare_digest(hmac.digest(key, content, self.hash), self.digest)


def read_encryption(algorithm: Element) -> Encryption:
    """Returns the encryption of an AlgorithmIdentifier. Raises NotBer or UnknownAlgorithm."""
    oid, parameters = _identified(algorithm)
    if oid in _OLD_CIPHERS:
        salt, iterations = _pair(parameters)
        old_cipher, octets = _OLD_CIPHERS[oid]
        return Encryption(Old(salt.octets(), _positive(iterations)), old_cipher, octets)
    if oid != _PBES2:
        raise UnknownAlgorithm(oid)
    derivation, encryption = _pair(parameters)
    cipher_oid, cipher_parameters = _identified(encryption)
    derived_by, _ = _read_derivation(derivation)
    if cipher_oid not in _CIPHERS:
        raise UnknownAlgorithm(cipher_oid)
    if cipher_parameters is None or cipher_parameters.tag != ber.OCTET_STRING:
        raise NotBer("a cipher has no initialization vector")
    cipher, octets = _CIPHERS[cipher_oid]
    iv = cipher_parameters.octets()
    if len(iv) != (8 if cipher is TripleDES else 16):
        raise NotBer(f"an initialization vector has {len(iv)} octets")
    return Encryption(derived_by, cipher, octets, iv)


def read_mac(mac_data: Element) -> Mac:
    """Returns the MAC of a PKCS#12 MacData. Raises NotBer or UnknownAlgorithm."""
    digest_info, salt, *rest = _parts(mac_data, 2)
    algorithm, digest = _pair(digest_info)
    oid, parameters = _identified(algorithm)
    if oid == _PBMAC1:
        derivation, mac = _pair(parameters)
        derived_by, octets = _read_derivation(derivation)
        if octets is None:
            raise NotBer("PBMAC1 without the length of its key")
        return Mac(derived_by, _known(_HMACS, _identified(mac)[0]), octets, digest.octets())
    name = _known(_HASHES, oid)
    iterations = _positive(rest[0]) if rest else 1
    octets = hashlib.new(name).digest_size
    return Mac(Old(salt.octets(), iterations, name), name, octets, digest.octets())


def mac_data(content: bytes, passphrase: str | None) -> bytes:
    """Returns the DER of a MacData that authenticates `content` with SHA-1, one iteration."""
    salt = b"any"
    key = Old(salt, 1).derive(passphrase, 20, _FOR_MAC)
    algorithm = ber.encode(ber.SEQUENCE, ber.encode(ber.OID, bytes.fromhex("2b0e03021a")))
    digest = ber.encode(ber.OCTET_STRING, hmac.digest(key, content, "sha1"))
    digest_info = ber.encode(ber.SEQUENCE, algorithm, digest)
    return ber.encode(ber.SEQUENCE, digest_info, ber.encode(ber.OCTET_STRING, salt))


def utf8(passphrase: str | None) -> bytes:
    """Returns the octets of a passphrase for all algorithms but PKCS#12's old ones."""
    return (passphrase or "").encode("utf-8", "surrogatepass")


def _filled(text: bytes, block: int) -> bytes:
    """Returns `text` repeated to full blocks of the given octets; empty for empty text."""
    if not text:
        return b""
    octets = -(-len(text) // block) * block
    return (text * (octets // len(text) + 1))[:octets]


def _plus(octets: bytes, added: int) -> bytes:
    made = (int.from_bytes(octets) + added) % (1 << 8 * len(octets))
    return made.to_bytes(len(octets))


def _read_derivation(algorithm: Element) -> tuple[Derivation, int | None]:
    """Returns the derivation, and the length of the key if it is specified."""
    oid, parameters = _identified(algorithm)
    if oid == _PBKDF2:
        salt, iterations, *rest = _parts(parameters, 2)
        octets = _key_octets(rest)
        prf = rest[-1] if rest and rest[-1].tag == ber.SEQUENCE else None
        name = _known(_HMACS, _identified(prf)[0]) if prf else "sha1"
        return Pbkdf2(salt.octets(), _positive(iterations), name), octets
    if oid == _SCRYPT:
        salt, *costs = _parts(parameters, 4)
        n, r, p = map(_positive, costs[:3])
        # RFC 7914, 2: a power of two, and below 2^(128·r/8).
        if n < 2 or n & (n - 1) or n.bit_length() > 16 * r:
            raise NotBer("the cost of scrypt is invalid")
        return Scrypt(salt.octets(), n, r, p), _key_octets(costs[3:])
    raise UnknownAlgorithm(oid)


def _key_octets(optional: list[Element]) -> int | None:
    if not optional or optional[0].tag != ber.INTEGER:
        return None
    octets = _positive(optional[0])
    if octets > _MOST_KEY_OCTETS:
        raise NotBer("a derived key is too long")
    return octets


def _identified(algorithm: Element) -> tuple[str, Element | None]:
    oid, *parameters = _parts(algorithm, 1)
    return oid.oid(), parameters[0] if parameters else None


def _parts(element: Element | None, least: int) -> list[Element]:
    if element is None or element.tag != ber.SEQUENCE:
        raise NotBer("a SEQUENCE is missing")
    children = element.children()
    if len(children) < least:
        raise NotBer("a part is missing")
    return children


def _pair(element: Element | None) -> tuple[Element, Element]:
    parts = _parts(element, 2)
    if len(parts) > 2:
        raise NotBer("it has an extra part")
    return parts[0], parts[1]


def _positive(element: Element) -> int:
    number = element.integer()
    if number < 1:
        raise NotBer("a number is not positive")
    return number


def _known(names: dict[str, str], oid: str) -> str:
    if oid not in names:
        raise UnknownAlgorithm(oid)
    return names[oid]
