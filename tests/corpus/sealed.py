"""Encrypts keys (RFC 8018, RFC 7914) and PKCS#12 files (RFC 7292) with a passphrase.

Salts and initialization vectors are fixed, so that each run generates the same corpus. A file with
a high cost only states it: its key is derived with fewer iterations.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4, RC2, TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.padding import PKCS7

from . import der
from .der import NULL, integer, octets, oid, sequence, tagged

PASSPHRASE = "Passphrase-canary-7f3a9c"

_SALT = b"corpus salt 1234"
_IV = b"corpus vector 16"
AFFORDABLE = 1 << 17

_PRFS = {"sha1": 7, "sha224": 8, "sha256": 9, "sha384": 10, "sha512": 11}
_CIPHERS: dict[str, tuple[str, type[AES | TripleDES], int, int]] = {
    "aes-128": ("2.16.840.1.101.3.4.1.2", AES, 16, 16),
    "aes-192": ("2.16.840.1.101.3.4.1.22", AES, 24, 16),
    "aes-256": ("2.16.840.1.101.3.4.1.42", AES, 32, 16),
    "3des": ("1.2.840.113549.3.7", TripleDES, 24, 8),
}
_PKCS12_CIPHERS: dict[str, tuple[str, type[TripleDES | RC2 | ARC4], int]] = {
    "rc4-128": ("1.2.840.113549.1.12.1.1", ARC4, 16),
    "rc4-40": ("1.2.840.113549.1.12.1.2", ARC4, 5),
    "3des": ("1.2.840.113549.1.12.1.3", TripleDES, 24),
    "3des-2": ("1.2.840.113549.1.12.1.4", TripleDES, 16),
    "rc2-128": ("1.2.840.113549.1.12.1.5", RC2, 16),
}
_HASH_OIDS = {
    "sha1": "1.3.14.3.2.26",
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha512": "2.16.840.1.101.3.4.2.3",
}


@dataclass(frozen=True)
class Pbes2:
    """PBES2 with PBKDF2."""

    prf: str = "sha256"
    cipher: str = "aes-256"
    iterations: int = 2048

    def seal(self, plain: bytes, passphrase: str | None) -> tuple[bytes, bytes]:
        """Returns the AlgorithmIdentifier and the ciphertext."""
        secret = (passphrase or "").encode()
        rounds = min(self.iterations, AFFORDABLE)
        octets_of_key = _CIPHERS[self.cipher][2]
        key = hashlib.pbkdf2_hmac(self.prf, secret, _SALT, rounds, octets_of_key)
        prf = sequence(oid(f"1.2.840.113549.2.{_PRFS[self.prf]}"), NULL)
        kdf = sequence(
            oid("1.2.840.113549.1.5.12"),
            sequence(octets(_SALT), integer(self.iterations), b"" if self.prf == "sha1" else prf),
        )
        return _pbes2(kdf, self.cipher, key, plain)


@dataclass(frozen=True)
class Scrypt:
    """PBES2 with scrypt."""

    n: int = 1024
    r: int = 8
    p: int = 1
    cipher: str = "aes-256"

    def seal(self, plain: bytes, passphrase: str | None) -> tuple[bytes, bytes]:
        secret = (passphrase or "").encode()
        costs = (self.n, self.r, self.p) if self.n * self.r * self.p <= AFFORDABLE else (2, 1, 1)
        n, r, p = costs
        octets_of_key = _CIPHERS[self.cipher][2]
        key = hashlib.scrypt(secret, salt=_SALT, n=n, r=r, p=p, dklen=octets_of_key)
        parameters = (octets(_SALT), integer(self.n), integer(self.r), integer(self.p))
        kdf = sequence(oid("1.3.6.1.4.1.11591.4.11"), sequence(*parameters))
        return _pbes2(kdf, self.cipher, key, plain)


@dataclass(frozen=True)
class Pkcs12Pbe:
    """The old ciphers of PKCS#12 (RFC 7292, appendix C)."""

    cipher: str = "3des"
    iterations: int = 2048

    def seal(self, plain: bytes, passphrase: str | None) -> tuple[bytes, bytes]:
        dotted, algorithm, length = _PKCS12_CIPHERS[self.cipher]
        rounds = min(self.iterations, AFFORDABLE)
        key = pkcs12_kdf(passphrase, 1, rounds, length)
        if length == 16 and algorithm is TripleDES:
            key += key[:8]
        vector = pkcs12_kdf(passphrase, 2, rounds, 8)
        identifier = sequence(oid(dotted), sequence(octets(_SALT[:8]), integer(self.iterations)))
        if algorithm is ARC4:
            return identifier, Cipher(ARC4(key), None).encryptor().update(plain)
        return identifier, _encrypted(algorithm(key), vector, plain)


Sealing = Pbes2 | Scrypt | Pkcs12Pbe


def encrypted_pkcs8(plain: bytes, sealing: Sealing, passphrase: str | None = PASSPHRASE) -> bytes:
    """EncryptedPrivateKeyInfo."""
    identifier, ciphertext = sealing.seal(plain, passphrase)
    return sequence(identifier, octets(ciphertext))


def pkcs12_kdf(
    passphrase: str | None, purpose: int, rounds: int, length: int, digest: str = "sha1"
) -> bytes:
    """RFC 7292, appendix B.2."""
    block = hashlib.new(digest).block_size
    salt = _SALT[:8]
    secret = b"" if passphrase is None else passphrase.encode("utf-16-be") + b"\0\0"
    chained = bytearray(_filled(salt, block) + _filled(secret, block))
    key = b""
    while len(key) < length:
        hashed = hashlib.new(digest, bytes([purpose]) * block + chained).digest()
        for _ in range(rounds - 1):
            hashed = hashlib.new(digest, hashed).digest()
        key += hashed
        added = int.from_bytes(_filled(hashed, block)[:block]) + 1
        for at in range(0, len(chained), block):
            total = int.from_bytes(chained[at : at + block]) + added
            chained[at : at + block] = (total % (1 << 8 * block)).to_bytes(block)
    return key[:length]


# Bags and safes.


def certificate_bag(certificate: bytes) -> bytes:
    held = sequence(oid("1.2.840.113549.1.9.22.1"), tagged(0, octets(certificate)))
    return _bag(3, held)


def key_bag(plain: bytes) -> bytes:
    return _bag(1, plain)


def shrouded_key_bag(plain: bytes, sealing: Sealing, passphrase: str | None = PASSPHRASE) -> bytes:
    return encrypted_key_bag(encrypted_pkcs8(plain, sealing, passphrase))


def encrypted_key_bag(encrypted: bytes) -> bytes:
    return _bag(2, encrypted)


def nested_bag(*bags: bytes) -> bytes:
    return _bag(6, sequence(*bags))


def crl_bag() -> bytes:
    return _bag(4, sequence(oid("1.2.840.113549.1.9.23.1"), tagged(0, octets(sequence()))))


def open_safe(*bags: bytes) -> bytes:
    return _data(sequence(*bags))


def sealed_safe(*bags: bytes, sealing: Sealing, passphrase: str | None = PASSPHRASE) -> bytes:
    identifier, ciphertext = sealing.seal(sequence(*bags), passphrase)
    content = sequence(_DATA, identifier, der.element(0x80, ciphertext))
    return sequence(oid("1.2.840.113549.1.7.6"), tagged(0, sequence(integer(0), content)))


@dataclass(frozen=True)
class Mac:
    """The MAC of a PKCS#12 file."""

    digest: str = "sha256"
    iterations: int = 2048
    pbmac1: bool = False

    def of(self, content: bytes, passphrase: str | None) -> bytes:
        rounds = min(self.iterations, AFFORDABLE)
        if self.pbmac1:
            return self._pbmac1(content, passphrase or "", rounds)
        length = hashlib.new(self.digest).digest_size
        key = pkcs12_kdf(passphrase, 3, rounds, length, self.digest)
        made = hmac.digest(key, content, self.digest)
        algorithm = sequence(oid(_HASH_OIDS[self.digest]), NULL)
        return sequence(
            sequence(algorithm, octets(made)), octets(_SALT[:8]), integer(self.iterations)
        )

    def _pbmac1(self, content: bytes, passphrase: str, rounds: int) -> bytes:
        """RFC 9579."""
        key = hashlib.pbkdf2_hmac(self.digest, passphrase.encode(), _SALT, rounds, 32)
        prf = sequence(oid(f"1.2.840.113549.2.{_PRFS[self.digest]}"), NULL)
        parameters = sequence(octets(_SALT), integer(self.iterations), integer(32), prf)
        kdf = sequence(oid("1.2.840.113549.1.5.12"), parameters)
        algorithm = sequence(oid("1.2.840.113549.1.5.14"), sequence(kdf, prf))
        digest = octets(hmac.digest(key, content, self.digest))
        return sequence(sequence(algorithm, digest), octets(b"NOT USED"), integer(1))


def pkcs12(
    safes: Sequence[bytes],
    mac: Mac | None = Mac(),
    passphrase: str | None = PASSPHRASE,
    version: int = 3,
) -> bytes:
    """Returns a PKCS#12 file with `safes`."""
    content = sequence(*safes)
    authenticated = mac.of(content, passphrase) if mac else b""
    return sequence(integer(version), _data(content), authenticated)


def in_ber(file: bytes) -> bytes:
    """Returns a PKCS#12 file with indefinite lengths and segmented strings."""
    return _as_ber(file)[0]


_DATA = oid("1.2.840.113549.1.7.1")


def _data(content: bytes) -> bytes:
    return sequence(_DATA, tagged(0, octets(content)))


def _bag(kind: int, value: bytes) -> bytes:
    return sequence(oid(f"1.2.840.113549.1.12.10.1.{kind}"), tagged(0, value))


def _pbes2(kdf: bytes, cipher: str, key: bytes, plain: bytes) -> tuple[bytes, bytes]:
    dotted, algorithm, _, length = _CIPHERS[cipher]
    vector = _IV[:length]
    scheme = sequence(oid(dotted), octets(vector))
    identifier = sequence(oid("1.2.840.113549.1.5.13"), sequence(kdf, scheme))
    return identifier, _encrypted(algorithm(key), vector, plain)


def _encrypted(algorithm: AES | TripleDES | RC2 | ARC4, vector: bytes, plain: bytes) -> bytes:
    padder = PKCS7(8 * len(vector)).padder()
    encryptor = Cipher(algorithm, modes.CBC(vector)).encryptor()
    return encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()


def _filled(text: bytes, block: int) -> bytes:
    if not text:
        return b""
    length = -(-len(text) // block) * block
    return (text * (length // len(text) + 1))[:length]


def _as_ber(element: bytes) -> tuple[bytes, bytes]:
    """Returns the first element of `element` in BER, and the octets after it."""
    tag, length, at = element[0], element[1], 2
    if length >= 0x80:
        at += length - 0x80
        length = int.from_bytes(element[2:at])
    content, rest = element[at : at + length], element[at + length :]
    if tag & 0x20:
        parts = []
        while content:
            part, content = _as_ber(content)
            parts.append(part)
        return der.indefinite(tag, *parts), rest
    if tag == 0x04 and len(content) > 32:
        pieces = [octets(content[start : start + 999]) for start in range(0, len(content), 999)]
        return der.indefinite(0x24, *pieces), rest
    return element[: at + length], rest
