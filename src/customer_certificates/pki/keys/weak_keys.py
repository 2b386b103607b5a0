"""Finds keys that attackers can break, or that browsers reject."""

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

from badkeys import utils
from badkeys.allkeys.block import blocklist
from badkeys.rsakeys import (
    fermat,
    roca,
    rsabias,
    rsainvalid,
    rsapoly,
    sharedprimes,
    smalld,
    smallfactors,
)
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ...errors import Finding
from .cost_limits import (
    FEWEST_RSA_BITS,
    MOST_RSA_BITS,
    rsa_exponent,
    rsa_size,
    unusable,
    weak_key_finding,
)
from .public_keys import PrivateKey, key_algorithm

_Check = Callable[..., Any]

# Only the first match is reported: the others would describe the same weakness.
_RSA_CHECKS: tuple[tuple[_Check, str], ...] = (
    (smallfactors, "its modulus has a small factor, so the key is damaged or broken"),
    (fermat, "its two primes are too close, so it can be factored quickly (Fermat)"),
    (sharedprimes, "it shares a prime with other published keys"),
    (roca, "a faulty chip generated it, so it can be factored (ROCA, CVE-2017-15361)"),
    (rsapoly, "its modulus has a pattern of zeros, so it can be factored"),
    (rsabias, "its modulus is not random: far too many bits are alike"),
    (smalld, "its private exponent is so small that it can be computed (Wiener)"),
    (rsainvalid, "its numbers are not a valid RSA key"),
)
# Some software generates primes whose lengths differ by a bit or two.
_MOST_BITS_APART = 16
_ACCEPTED_CURVES = ("secp256r1", "secp384r1")


def _prepared_blocklist() -> _Check | None:
    """Returns badkeys' blocklist with its files opened, or None if not installed.

    badkeys would end the process if a file is missing, and look for the files at every use.
    """
    folder = utils._cachedir()
    if not all(
        os.path.exists(os.path.join(folder, name)) for name in ("badkeysdata.json", "blocklist.dat")
    ):
        return None
    try:
        blocklist(0)
    except (Exception, SystemExit):  # the files may be damaged or unreadable
        return None
    ready: _Check = blocklist
    return ready


_BLOCKLIST = _prepared_blocklist()
# These read a file or compute a large product on first use. A sandbox process cannot open files.
for _bits in (512, 768, 1024, 2048, MOST_RSA_BITS):
    sharedprimes((1 << _bits) - 1)
smallfactors(MOST_RSA_BITS)


def weakness(public_key: PublicKeyTypes, field: str = "private_key") -> tuple[Finding, ...]:
    """Returns the findings that a public key shows about its key pair. Never raises.

    `key_weak`, which is a warning for P-521, Ed25519 and Ed448; `key_invalid` if its algorithm
    cannot be used for TLS.
    """
    if isinstance(public_key, rsa.RSAPublicKey):
        return _rsa_weakness(public_key, field)
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        findings = () if public_key.curve.name in _ACCEPTED_CURVES else (_curve(public_key, field),)
        return findings + _compromised(public_key.public_numbers().x, field)
    if isinstance(public_key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        raw = public_key.public_bytes(Encoding.Raw, PublicFormat.Raw)
        rejected = _rejected_by("Chrome and Firefox", key_algorithm(public_key), field)
        return (rejected, *_compromised(int.from_bytes(raw), field))
    return (unusable(key_algorithm(public_key), field),)


def weak_primes(key: PrivateKey, field: str = "private_key") -> tuple[Finding, ...]:
    """Returns `key_weak` if a prime of an RSA `key` can be guessed. Never raises.

    FIPS 186-5, A.1.1: both primes are random and have the same length.
    """
    if not isinstance(key, rsa.RSAPrivateKey):
        return ()
    numbers = key.private_numbers()
    shorter, longer = sorted((numbers.p.bit_length(), numbers.q.bit_length()))
    if longer - shorter > _MOST_BITS_APART:
        reason = f"its primes have {shorter} and {longer} bits; they must have the same length"
    elif _has_pattern(numbers.p) or _has_pattern(numbers.q):
        reason = "one of its primes is not random: most of its bytes are alike"
    else:
        return ()
    return (weak_key_finding(f"The RSA key can be broken: {reason}.", field),)


def _has_pattern(number: int) -> bool:
    """Returns whether few different bytes make up `number`. Nearly all random bytes differ."""
    octets = number.to_bytes(-(-number.bit_length() // 8))
    counts = Counter(octets)
    return max(counts.values()) > len(octets) / 4 or len(counts) < len(octets) / 4


def _rsa_weakness(public_key: rsa.RSAPublicKey, field: str) -> tuple[Finding, ...]:
    numbers = public_key.public_numbers()
    bits = numbers.n.bit_length()
    findings = [rsa_size(bits, field), rsa_exponent(numbers.e, field)]
    # Checking a modulus of unlimited size would take unlimited time.
    if FEWEST_RSA_BITS <= bits <= MOST_RSA_BITS:
        findings.append(_factorable(numbers, field))
    return (*filter(None, findings), *_compromised(numbers.n, field))


def _factorable(numbers: rsa.RSAPublicNumbers, field: str) -> Finding | None:
    for check, reason in _RSA_CHECKS:
        match = check(numbers.n, e=numbers.e)
        # A vanity modulus, whose upper half was chosen, is unusual but no easier to factor.
        if match and match.get("subtest") != "vanity":
            return weak_key_finding(f"The RSA key can be broken: {reason}.", field)
    return None


def _compromised(number: int, field: str) -> tuple[Finding, ...]:
    match = _BLOCKLIST(number) if _BLOCKLIST else None
    if not match:
        return ()
    detail = f"The private key is publicly known (badkeys' list «{match['subtest']}»)."
    return (weak_key_finding(detail, field),)


def _curve(public_key: ec.EllipticCurvePublicKey, field: str) -> Finding:
    name = key_algorithm(public_key).removeprefix("ECDSA-")
    if name == "P-521":
        return _rejected_by("Chrome", name, field)
    detail = f"The key uses the curve {name}. Browsers accept P-256 and P-384."
    return weak_key_finding(detail, field)


def _rejected_by(browsers: str, algorithm: str, field: str) -> Finding:
    detail = (
        f"{browsers} reject certificates with {algorithm} keys. Clients that use OpenSSL accept"
        " them."
    )
    return weak_key_finding(detail, field, "warning")
