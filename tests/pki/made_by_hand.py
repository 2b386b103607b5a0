"""Private keys and PKCS#12 files that no software would make, in DER."""

import functools
import hashlib
import hmac

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from customer_certificates.pki.asn1.ber import INTEGER, OCTET_STRING, OID, SEQUENCE, encode

PBES2, PBKDF2 = "2a864886f70d01050d", "2a864886f70d01050c"
SCRYPT, PBMAC1 = "2b06010401da47040b", "2a864886f70d01050e"
AES_256_CBC, HMAC_SHA256 = "60864801650304012a", "2a864886f70d0209"
PKCS12_3DES, SHA1 = "2a864886f70d010c0103", "2b0e03021a"
DATA, ENCRYPTED_DATA = "2a864886f70d010701", "2a864886f70d010706"
KEY_BAG, SHROUDED_KEY_BAG = "2a864886f70d010c0a0101", "2a864886f70d010c0a0102"
SAFE_BAG = "2a864886f70d010c0a0106"
RSA = "2a864886f70d010101"


def sequence(*parts: bytes) -> bytes:
    return encode(SEQUENCE, *parts)


def integer(number: int) -> bytes:
    return encode(INTEGER, number.to_bytes(number.bit_length() // 8 + 1, signed=True))


def oid(octets: str) -> bytes:
    return encode(OID, bytes.fromhex(octets))


def octets(content: bytes) -> bytes:
    return encode(OCTET_STRING, content)


def explicit(*content: bytes) -> bytes:
    return encode(0xA0, *content)


def pbkdf2(iterations: int, *more: bytes) -> bytes:
    return sequence(oid(PBKDF2), sequence(octets(b"salt"), integer(iterations), *more))


def scrypt(n: int, r: int, p: int) -> bytes:
    return sequence(oid(SCRYPT), sequence(octets(b"salt"), integer(n), integer(r), integer(p)))


def pbes2(derivation: bytes) -> bytes:
    cipher = sequence(oid(AES_256_CBC), octets(bytes(16)))
    return sequence(oid(PBES2), sequence(derivation, cipher))


def pkcs12_pbe(iterations: int) -> bytes:
    return sequence(oid(PKCS12_3DES), sequence(octets(b"saltsalt"), integer(iterations)))


def encrypted_key(algorithm: bytes) -> bytes:
    """An EncryptedPrivateKeyInfo (RFC 5958) of which only the costs are real."""
    return sequence(algorithm, octets(bytes(64)))


def rsa_key(n: int, e: int = 65537, *others: int) -> bytes:
    """An RSAPrivateKey (RFC 8017) of these numbers, all that are not given 1."""
    numbers = [0, n, e, *others, *[1] * (6 - len(others))]
    return sequence(*map(integer, numbers))


def pkcs8_rsa(key: bytes) -> bytes:
    return sequence(integer(0), sequence(oid(RSA), encode(0x05)), octets(key))


def safe(*bags: bytes) -> bytes:
    """A safe in the open, as a ContentInfo."""
    return sequence(oid(DATA), explicit(octets(sequence(*bags))))


def encrypted_safe(algorithm: bytes, ciphertext: bytes = bytes(64)) -> bytes:
    encrypted = sequence(oid(DATA), algorithm, encode(0x80, ciphertext))
    return sequence(oid(ENCRYPTED_DATA), explicit(sequence(integer(0), encrypted)))


def bag(kind: str, value: bytes) -> bytes:
    return sequence(oid(kind), explicit(value))


def pkcs12(*safes: bytes, mac: bytes = b"") -> bytes:
    content = sequence(*safes)
    return sequence(integer(3), sequence(oid(DATA), explicit(octets(content))), mac)


def mac(iterations: int, digest: bytes = bytes(20)) -> bytes:
    digest_info = sequence(sequence(oid(SHA1)), octets(digest))
    return sequence(digest_info, octets(b"salt"), integer(iterations))


def pbmac1(content: bytes, passphrase: bytes) -> bytes:
    """A MacData as RFC 9579 has it."""
    derivation = pbkdf2(1000, integer(32), sequence(oid(HMAC_SHA256)))
    key = hashlib.pbkdf2_hmac("sha256", passphrase, b"salt", 1000, 32)
    algorithm = sequence(oid(PBMAC1), sequence(derivation, sequence(oid(HMAC_SHA256))))
    digest = octets(hmac.digest(key, content, "sha256"))
    return sequence(sequence(algorithm, digest), octets(b"unused"), integer(1))


@functools.cache
def an_rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def rsa_numbers() -> list[int]:
    """Those of `an_rsa_key`, as an RSAPrivateKey has them behind its version."""
    of = an_rsa_key().private_numbers()
    public = of.public_numbers
    return [public.n, public.e, of.d, of.p, of.q, of.dmp1, of.dmq1, of.iqmp]


def der_of(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def sealed(safe_contents: bytes, passphrase: str) -> bytes:
    """A safe that is truly encrypted (PBES2)."""
    derivation = pbkdf2(1, sequence(oid(HMAC_SHA256)))
    key = hashlib.pbkdf2_hmac("sha256", passphrase.encode(), b"salt", 1, 32)
    padding = 16 - len(safe_contents) % 16
    encryptor = Cipher(AES(key), CBC(bytes(16))).encryptor()
    padded = safe_contents + bytes([padding]) * padding
    return encrypted_safe(pbes2(derivation), encryptor.update(padded) + encryptor.finalize())
