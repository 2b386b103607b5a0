"""The private keys of the corpus. All are made for it, and none is of any use elsewhere.

Keys on curves are derived from a name. RSA and DSA keys take long to make, so they are stored in
`inputs/`; those with a fault are made of primes, which a generator with a fixed seed finds.
"""

import hashlib
import random
from dataclasses import dataclass
from functools import cache
from math import gcd, lcm, prod
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from .der import NULL, bits, integer, octets, oid, sequence

INPUTS = Path(__file__).parent / "inputs"
# P-256 (FIPS 186-5): the field, b, the generator, its order.
_P = 2**256 - 2**224 + 2**192 + 2**96 - 1
_B = bytes.fromhex("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b")
_G = bytes.fromhex(
    "04"
    "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

_RSA_ALGORITHM = sequence(oid("1.2.840.113549.1.1.1"), NULL)

Loaded = (
    ec.EllipticCurvePrivateKey
    | rsa.RSAPrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
    | x25519.X25519PrivateKey
    | dsa.DSAPrivateKey
)
Signer = (
    ec.EllipticCurvePrivateKey
    | rsa.RSAPrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)


@dataclass(frozen=True)
class Rsa:
    """The numbers of an RSA key, right or wrong; those of CRT are derived where they are None."""

    p: int
    q: int
    e: int = 65537
    n: int | None = None
    d: int | None = None
    d_p: int | None = None

    @property
    def modulus(self) -> int:
        return self.p * self.q if self.n is None else self.n

    @property
    def spki(self) -> bytes:
        return rsa_spki(self.modulus, self.e)

    @property
    def pkcs1(self) -> bytes:
        d = self.d
        if d is None:
            d = pow(self.e, -1, lcm(self.p - 1, self.q - 1))
        d_p = d % (self.p - 1) if self.d_p is None else self.d_p
        numbers = (0, self.modulus, self.e, d, self.p, self.q, d_p, d % (self.q - 1))
        coefficient = pow(self.q, -1, self.p) if self.p != self.q else 1
        return sequence(*map(integer, numbers), integer(coefficient))

    @property
    def pkcs8(self) -> bytes:
        return sequence(integer(0), _RSA_ALGORITHM, octets(self.pkcs1))


def rsa_spki(modulus: int, exponent: int) -> bytes:
    """Any two numbers, as a SubjectPublicKeyInfo."""
    return sequence(_RSA_ALGORITHM, bits(sequence(integer(modulus), integer(exponent))))


@cache
def ec_key(name: str, curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    """The key of `name`, on P-256 unless another curve is given."""
    curve = curve or ec.SECP256R1()
    return ec.derive_private_key(_number(name) >> max(0, 224 - curve.key_size), curve)


def explicit_spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The public key of `key`, its curve (P-256) written out (SEC 1, C.2)."""
    parameters = sequence(
        integer(1),
        sequence(oid("1.2.840.10045.1.1"), integer(_P)),
        sequence(octets((_P - 3).to_bytes(32)), octets(_B)),
        octets(_G),
        integer(_N),
        integer(1),
    )
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return sequence(sequence(oid("1.2.840.10045.2.1"), parameters), bits(point))


def ed25519_key(name: str) -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.from_private_bytes(_digest(name))


def ed448_key(name: str) -> ed448.Ed448PrivateKey:
    return ed448.Ed448PrivateKey.from_private_bytes((_digest(name) * 2)[:57])


def x25519_key(name: str) -> x25519.X25519PrivateKey:
    return x25519.X25519PrivateKey.from_private_bytes(_digest(name))


@cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    """The RSA key that is stored as `inputs/rsa-NAME.pem`."""
    loaded = load_pem_private_key(
        (INPUTS / f"rsa-{name}.pem").read_bytes(), None, unsafe_skip_rsa_key_validation=True
    )
    assert isinstance(loaded, rsa.RSAPrivateKey)
    return loaded


@cache
def dsa_key() -> dsa.DSAPrivateKey:
    loaded = load_pem_private_key((INPUTS / "dsa-2048.pem").read_bytes(), None)
    assert isinstance(loaded, dsa.DSAPrivateKey)
    return loaded


def spki_of(key: Loaded) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def pkcs8(key: Loaded) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def traditional(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    """PKCS#1 or SEC1, in DER."""
    return key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())


@cache
def prime(name: str, size: int, exponent: int = 65537) -> int:
    """The prime of `name`, of exactly `size` bits, the upper two set."""
    source = random.Random(f"{name} {size}")
    while True:
        one = source.getrandbits(size) | 3 << size - 2 | 1
        if gcd(one - 1, exponent) == 1 and is_prime(one):
            return one


def next_prime(number: int) -> int:
    """The first prime after `number` that goes with the exponent 65537."""
    one = number + 1 | 1
    while one % 65537 == 1 or not is_prime(one):
        one += 2
    return one


@cache
def roca_prime(name: str, size: int = 1024) -> int:
    """A prime as the library behind CVE-2017-15361 made them: k * M + (65537 ** a mod M)."""
    source = random.Random(f"roca {name}")
    m = prod(_small_primes(701))
    least, most = (3 << size - 2) // m + 1, (1 << size) // m - 1
    while True:
        one = source.randint(least, most) * m + pow(65537, source.getrandbits(62), m)
        if one % 65537 != 1 and is_prime(one):
            return one


def is_prime(number: int) -> bool:
    """Whether it is prime (Fermat, to eight bases: nobody made these numbers to deceive)."""
    if any(number % small == 0 for small in _small_primes(2000)):
        return False
    return all(pow(base, number - 1, number) == 1 for base in (2, 3, 5, 7, 11, 13, 17, 19))


@cache
def _small_primes(limit: int) -> tuple[int, ...]:
    return tuple(
        one for one in range(2, limit + 1) if all(one % by for by in range(2, int(one**0.5) + 1))
    )


def _digest(name: str) -> bytes:
    return hashlib.sha256(f"customer certificates corpus {name}".encode()).digest()


def _number(name: str) -> int:
    return int.from_bytes(_digest(name)) >> 40 | 1
