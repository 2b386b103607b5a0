"""Limits on the cost of loading a key, checked before anything costly is done."""

from collections.abc import Iterable

from ...errors import Finding, Severity
from ..asn1.pbe import Encryption, Mac, Scrypt
from .formats import PlainKey

# An input may have several encrypted parts. These limits apply to their sum.
MOST_ITERATIONS = 1_000_000
MOST_SCRYPT_OCTETS = 32 * 1024 * 1024
# N·r·p of RFC 7914. OpenSSL's own limit is 2**17, which takes some 50 ms.
MOST_SCRYPT_WORK = 2**20

FEWEST_RSA_BITS, MOST_RSA_BITS = 512, 4096
RSA_BITS = (2048, 3072, MOST_RSA_BITS)
LARGEST_EXPONENT = 2**32


def too_costly(encryptions: Iterable[Encryption | Mac], field: str) -> Finding | None:
    """Returns `key_too_costly` if deriving all keys of `encryptions` costs too much.

    Every derivation counts. PKCS#12's old ciphers need one for the key and one for the IV. A key
    that is longer than the hash needs the iterations once for each block.
    """
    iterations = work = memory = 0
    for encryption in encryptions:
        derivation = encryption.derivation
        iterations += encryption.rounds
        if isinstance(derivation, Scrypt):
            # RFC 7914, 5: the vector V has N blocks of 128 · r octets.
            memory = max(memory, 128 * derivation.n * derivation.r)
            work += derivation.n * derivation.r * derivation.p
    if iterations > MOST_ITERATIONS:
        cost = f"takes {_figure(iterations)} iterations; the limit is {MOST_ITERATIONS:,}"
    elif memory > MOST_SCRYPT_OCTETS:
        limit = MOST_SCRYPT_OCTETS // 2**20
        cost = f"takes {_figure(memory // 2**20)} MiB of memory (scrypt); the limit is {limit}"
    elif work > MOST_SCRYPT_WORK:
        cost = f"has the scrypt cost N·r·p = {_figure(work)}; the limit is {MOST_SCRYPT_WORK:,}"
    else:
        return None
    command = "openssl pkey -in key.pem -out plain.pem"
    if field == "pkcs12":
        command = "openssl pkcs12 -in old.p12 -nodes | openssl pkcs12 -export -out new.p12"
    hint = f"Encrypt it again with usual parameters, or send it unencrypted: {command}"
    return Finding("key_too_costly", field, f"Decrypting {field} {cost}.", hint)


def not_worth_loading(key: PlainKey, field: str) -> Finding | None:
    """Returns a finding if a key is not worth loading.

    `key_invalid` if no TLS server can use such a key; `key_weak` if its RSA numbers are costly and
    give no security.
    """
    if not key.usable:
        return unusable(key.name, field)
    if key.rsa is None or key.rsa.n < 1:
        return None
    bits = key.rsa.n.bit_length()
    if not FEWEST_RSA_BITS <= bits <= MOST_RSA_BITS:
        return rsa_size(bits, field)
    return rsa_exponent(key.rsa.e, field)


def unusable(algorithm: str, field: str) -> Finding:
    """Returns `key_invalid` for a key algorithm that TLS cannot use."""
    if algorithm.startswith("unknown"):
        detail = f"The algorithm of the key is {algorithm}."
    elif algorithm == "RSASSA-PSS":
        detail = (
            "The key is for RSASSA-PSS only. Browsers do not accept certificates with such keys."
        )
    else:
        detail = f"{algorithm} keys cannot be used for TLS."
    return Finding("key_invalid", field, detail, NEW_KEY)


def rsa_size(bits: int, field: str) -> Finding | None:
    """Returns `key_weak` if CAs do not certify an RSA modulus of `bits`."""
    if bits in RSA_BITS:
        return None
    return weak_key_finding(f"The RSA key has {_figure(bits)} bits. Use 2048, 3072 or 4096.", field)


def rsa_exponent(e: int, field: str) -> Finding | None:
    """Returns `key_weak` unless an RSA exponent is odd, above 3 and below 2**32."""
    if 3 < e < LARGEST_EXPONENT and e % 2:
        return None
    shown = f"is {e}" if abs(e) < 2**64 else f"has {e.bit_length()} bits"
    return weak_key_finding(
        f"The public exponent of the RSA key {shown}. Use 65537. Odd numbers above 3 and below"
        " 2^32 are accepted.",
        field,
    )


def weak_key_finding(detail: str, field: str, severity: Severity = "error") -> Finding:
    """Returns the finding `key_weak`."""
    return Finding("key_weak", field, detail, NEW_KEY, severity)


NEW_KEY = (
    "Generate a new key and have a certificate issued for it: openssl genpkey -algorithm EC"
    " -pkeyopt ec_paramgen_curve:P-256 -out key.pem"
)


def _figure(number: int) -> str:
    """Formats `number` for a message; very large numbers are not written out."""
    return f"{number:,}" if number < 10**15 else f"more than {10**15:,}"
