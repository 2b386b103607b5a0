"""Finds the key types that a TLS client can verify, from the numbers of its ClientHello."""

# IANA's TLS SignatureScheme registry (RFC 8446, 4.2.3).
_SCHEMES = {
    "ecdsa": {0x0203, 0x0403, 0x0503, 0x0603},
    "rsa": {0x0201, 0x0401, 0x0501, 0x0601, 0x0804, 0x0805, 0x0806},
    "ed25519": {0x0807},
    "ed448": {0x0808},
}
# Cipher suites of TLS 1.3, which say nothing about keys, and those of TLS 1.2 with ECDHE_ECDSA (RFC
# 8422, 5289, 6655, 7905), which EdDSA uses too. All other TLS 1.2 suites are for RSA.
_OF_TLS_1_3 = range(0x1301, 0x1306)
_WITH_ECDSA = {
    *range(0xC006, 0xC00B),
    *(0xC023, 0xC024, 0xC02B, 0xC02C),
    *range(0xC0AC, 0xC0B0),
    0xCCA9,
}


def key_types(signature_schemes: str, cipher_suites: str) -> frozenset[str] | None:
    """Returns the key types that a client accepts; None if that is unclear.

    The lists have hexadecimal numbers separated by commas.
    """
    schemes, suites = _numbers(signature_schemes), _numbers(cipher_suites)
    kinds = {kind for kind, those in _SCHEMES.items() if those & schemes} or {*_SCHEMES}
    if suites and suites.isdisjoint(_OF_TLS_1_3):
        if suites.isdisjoint(_WITH_ECDSA):
            kinds &= {"rsa"}
        elif suites <= _WITH_ECDSA:
            kinds -= {"rsa"}
    return frozenset(kinds) if kinds and kinds != {*_SCHEMES} else None


def _numbers(text: str) -> set[int]:
    """Returns the numbers in `text`; none if one of them is malformed."""
    try:
        return {int(part, 16) for part in text.split(",") if part}
    except ValueError:
        return set()
