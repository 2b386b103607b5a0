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

# Looked up here, because a codec is a file, and a sandbox process cannot open files.
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
_IV_OCTETS = 8
_MOST_KEY_OCTETS = 64
# RFC 7292, appendix B.3: the purpose of a derived key.
_FOR_KEY, _FOR_IV, _FOR_MAC = 1, 2, 3


class UnknownAlgorithm(Exception):  # noqa: N818 - a finding, not an error
    """The encryption algorithm is unknown; the message is its OID."""


class WrongPassphrase(Exception):  # noqa: N818 - a finding, not an error
    """Decryption with this passphrase gives no valid data."""


@dataclass(frozen=True, slots=True)
class _Iterated:
    """A derivation that repeats `hash`."""

    salt: bytes
    iterations: int
    hash: str = "sha1"

    def rounds(self, octets: int) -> int:
        """Returns the hash iterations for a key of `octets`, which is derived in blocks."""
        return self.iterations * -(-octets // hashlib.new(self.hash).digest_size)


class Pbkdf2(_Iterated):
    """RFC 8018, 5.2, with HMAC over `hash`."""

    def derive(self, passphrase: str | None, octets: int, _: int) -> bytes:
        """Returns a key of `octets`."""
        secret = utf8(passphrase)
        return hashlib.pbkdf2_hmac(self.hash, secret, self.salt, self.iterations, octets)


class Pkcs12Kdf(_Iterated):
    """The derivation of PKCS#12's old ciphers and MAC (RFC 7292, appendix B).

    PBES1 (RFC 8018, 5.1) has the same parameters; only the library decrypts it.
    """

    def derive(self, passphrase: str | None, octets: int, purpose: int) -> bytes:
        """Returns a key of `octets` for `purpose`; None as passphrase differs from ""."""
        # Calling it by name takes a third of the time of `hashlib.new`.
        new_hash: Callable[..., hashlib._Hash] = getattr(hashlib, self.hash)
        block = new_hash().block_size
        secret = b""
        if passphrase is not None:
            secret = _UTF_16.encode(passphrase, "surrogatepass")[0] + b"\0\0"
        chained = _filled(self.salt, block) + _filled(secret, block)
        key = b""
        while len(key) < octets:
            digest = bytes([purpose]) * block + chained
            for _ in range(self.iterations):
                digest = new_hash(digest).digest()
            key += digest
            increment = int.from_bytes(_filled(digest, block)) + 1
            blocks = (chained[at : at + block] for at in range(0, len(chained), block))
            chained = b"".join(_incremented(one_block, increment) for one_block in blocks)
        return key[:octets]


@dataclass(frozen=True, slots=True)
class Scrypt:
    """RFC 7914: cost `n`, block size `r`, parallelization `p`."""

    salt: bytes
    n: int
    r: int
    p: int

    def rounds(self, _: int) -> int:
        """Returns 0: scrypt's cost is in memory and in `n`, `r` and `p`."""
        return 0

    def derive(self, passphrase: str | None, octets: int, _: int) -> bytes:
        """Returns a key of `octets`."""
        return ScryptKdf(self.salt, octets, self.n, self.r, self.p).derive(utf8(passphrase))


Derivation = Pbkdf2 | Scrypt | Pkcs12Kdf


@dataclass(frozen=True, slots=True)
class Encryption:
    """An encryption.

    `cipher` is None if this module cannot decrypt it. `iv` is None if it is derived too.
    """

    derivation: Derivation
    cipher: _Algorithm | None
    key_octets: int
    iv: bytes | None = None

    @property
    def rounds(self) -> int:
        """The hash iterations of a decryption; none for scrypt, which has other costs."""
        rounds = self.derivation.rounds(self.key_octets)
        if not self.iv and self.cipher is not ARC4:
            rounds += self.derivation.rounds(_IV_OCTETS)
        return rounds

    def decrypt(self, ciphertext: bytes, passphrase: str | None) -> bytes:
        """Returns the decrypted data. Raises WrongPassphrase, and UnknownAlgorithm without a
        `cipher`."""
        if self.cipher is None:
            raise UnknownAlgorithm("an algorithm that cannot be decrypted here")
        key = self.derivation.derive(passphrase, self.key_octets, _FOR_KEY)
        if self.cipher is ARC4:
            return Cipher(ARC4(key), None).decryptor().update(ciphertext)
        iv = self.iv or self.derivation.derive(passphrase, _IV_OCTETS, _FOR_IV)
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
        """The hash iterations to derive the key; none for scrypt."""
        return self.derivation.rounds(self.key_octets)

    def matches(self, content: bytes, passphrase: str | None) -> bool:
        """Returns whether `content` was authenticated with this passphrase."""
        key = self.derivation.derive(passphrase, self.key_octets, _FOR_MAC)
        return hmac.compare_digest(hmac.digest(key, content, self.hash), self.digest)


def read_encryption(algorithm: Element) -> Encryption:
    """Returns the encryption of an AlgorithmIdentifier. Raises NotBer or UnknownAlgorithm."""
    oid, parameters = _identified(algorithm)
    if oid in _OLD_CIPHERS:
        salt, iterations = _pair(parameters)
        return Encryption(Pkcs12Kdf(salt.octets(), _positive(iterations)), *_OLD_CIPHERS[oid])
    if oid != _PBES2:
        raise UnknownAlgorithm(oid)
    derivation, encryption = _pair(parameters)
    cipher_oid, iv = _identified(encryption)
    derived_by, _ = _read_derivation(derivation)
    if cipher_oid not in _CIPHERS:
        raise UnknownAlgorithm(cipher_oid)
    if iv.tag != ber.OCTET_STRING:
        raise NotBer("a cipher has no initialization vector")
    cipher, octets = _CIPHERS[cipher_oid]
    iv_octets = iv.octets()
    if len(iv_octets) != (8 if cipher is TripleDES else 16):
        raise NotBer(f"an initialization vector has {len(iv_octets)} octets")
    return Encryption(derived_by, cipher, octets, iv_octets)


def read_mac(mac_data: Element) -> Mac:
    """Returns the MAC of a PKCS#12 MacData. Raises NotBer or UnknownAlgorithm."""
    digest_info, salt, *iterations = mac_data.sequence(2)
    algorithm, digest = _pair(digest_info)
    oid, parameters = _identified(algorithm)
    if oid == _PBMAC1:
        derivation, mac = _pair(parameters)
        derived_by, octets = _read_derivation(derivation)
        if octets is None:
            raise NotBer("PBMAC1 without the length of its key")
        return Mac(derived_by, _known(_HMACS, _identified(mac)[0]), octets, digest.octets())
    name = _known(_HASHES, oid)
    derived_by = Pkcs12Kdf(salt.octets(), _positive(iterations[0]) if iterations else 1, name)
    return Mac(derived_by, name, hashlib.new(name).digest_size, digest.octets())


def mac_data(content: bytes, passphrase: str | None) -> bytes:
    """Returns the DER of a MacData that authenticates `content` with SHA-1, one iteration."""
    salt = b"any"
    key = Pkcs12Kdf(salt, 1).derive(passphrase, 20, _FOR_MAC)
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


def _incremented(octets: bytes, increment: int) -> bytes:
    number = (int.from_bytes(octets) + increment) % (1 << 8 * len(octets))
    return number.to_bytes(len(octets))


def _read_derivation(algorithm: Element) -> tuple[Derivation, int | None]:
    """Returns the derivation, and the length of the key if it is specified."""
    oid, parameters = _identified(algorithm)
    if oid == _PBKDF2:
        salt, iterations, *optional = parameters.sequence(2)
        octets = _key_octets(optional)
        prf = optional[-1] if optional and optional[-1].tag == ber.SEQUENCE else None
        name = _known(_HMACS, _identified(prf)[0]) if prf else "sha1"
        return Pbkdf2(salt.octets(), _positive(iterations), name), octets
    if oid == _SCRYPT:
        salt, *costs = parameters.sequence(4)
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


def _identified(algorithm: Element) -> tuple[str, Element]:
    """Returns the OID and the parameters of an AlgorithmIdentifier, NULL if it has none."""
    oid, *parameters = algorithm.sequence(1)
    return oid.oid(), parameters[0] if parameters else ber.NULL


def _pair(element: Element) -> tuple[Element, Element]:
    parts = element.sequence(2)
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
