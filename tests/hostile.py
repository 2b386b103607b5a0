"""Private keys that were made to cost whoever reads them: seconds of CPU, or gigabytes."""

import base64
import hashlib
from typing import Any

from .factories import a_pair

_PBES2 = bytes.fromhex("06092a864886f70d01050d")
_PBKDF2 = bytes.fromhex("06092a864886f70d01050c")
_SCRYPT = bytes.fromhex("06092b06010401da47040b")
_HMAC_SHA256 = bytes.fromhex("06082a864886f70d0209") + b"\x05\x00"
_AES_256_CBC = bytes.fromhex("060960864801650304012a")
_RSA = bytes.fromhex("06092a864886f70d0101010500")
_DATA = bytes.fromhex("06092a864886f70d010701")
_SHA256 = bytes.fromhex("06096086480165030402010500")


def uploads() -> list[dict[str, Any]]:
    """Twenty of them, as the API takes them: four of each kind, with a sound certificate."""
    keys = [pbkdf2_key(10**7), rsa_key(8192), rsa_key(16384), scrypt_key(2**30)]
    each = [_upload(private_key=base64.b64encode(key).decode()) for key in keys]
    pkcs12 = base64.b64encode(pkcs12_file(10**7)).decode()
    return [*each, {"pkcs12": pkcs12, "passphrase": "wrong"}] * 4


def pbkdf2_key(iterations: int) -> bytes:
    """An encrypted PKCS#8 key (RFC 8018, PBES2) whose passphrase is to be hashed so many times."""
    parameters = _sequence(_octets(bytes(16)), _integer(iterations), _sequence(_HMAC_SHA256))
    return _encrypted(_sequence(_PBKDF2, parameters))


def scrypt_key(cost: int) -> bytes:
    """The same with scrypt (RFC 7914): 1 KiB of memory for each unit of `cost`."""
    parameters = _sequence(_octets(bytes(16)), _integer(cost), _integer(8), _integer(1))
    return _encrypted(_sequence(_SCRYPT, parameters))


def rsa_key(bits: int) -> bytes:
    """A PKCS#8 key whose modulus has so many bits; its factors are no primes."""
    p, q = (_odd(b"p", bits // 2), _odd(b"q", bits // 2))
    d = _odd(b"d", bits - 1)
    numbers = (0, p * q, 65537, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p))
    key = _sequence(*map(_integer, numbers))
    return _sequence(_integer(0), _sequence(_RSA), _octets(key))


def pkcs12_file(iterations: int) -> bytes:
    """A PKCS#12 file (RFC 7292) whose MAC is to be computed with so many iterations."""
    content = _sequence(_DATA, _tagged(_octets(_sequence())))
    mac = _sequence(
        _sequence(_sequence(_SHA256), _octets(bytes(32))), _octets(bytes(8)), _integer(iterations)
    )
    return _sequence(_integer(3), content, mac)


def _upload(**changes: Any) -> dict[str, Any]:
    return {"body": a_pair().body, "passphrase": "wrong", **changes}


def _encrypted(derivation: bytes) -> bytes:
    cipher = _sequence(_AES_256_CBC, _octets(bytes(16)))
    return _sequence(_sequence(_PBES2, _sequence(derivation, cipher)), _octets(bytes(160)))


def _odd(seed: bytes, bits: int) -> int:
    """A number of exactly so many bits, the same each time."""
    number = int.from_bytes(hashlib.shake_128(seed).digest(bits // 8 + 1), "big")
    return number % (1 << (bits - 2)) | 3 << (bits - 2) | 1


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def _sequence(*parts: bytes) -> bytes:
    return _der(0x30, b"".join(parts))


def _octets(content: bytes) -> bytes:
    return _der(0x04, content)


def _tagged(content: bytes) -> bytes:
    return _der(0xA0, content)


def _integer(value: int) -> bytes:
    return _der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))
