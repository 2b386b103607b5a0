"""Certificates of which one part is odd: clients read the rest, and so must we."""

from collections.abc import Iterator
from typing import Any

from customer_certificates.errors import Severity

from . import der
from .authority import END, START, draft_leaf, intermediate, leaf, raw_extension
from .case import Case, Expected, error, info, warning
from .leaf_cases import public

_BASIC_CONSTRAINTS, _KEY_USAGE, _SAN = "2.5.29.19", "2.5.29.15", "2.5.29.17"
_TIMESTAMPS, _FEATURES = "1.3.6.1.4.1.11129.2.4.2", "1.3.6.1.5.5.7.1.24"
_ODD = info("encoding_odd")

# By the severity that each deserves: OpenSSL refuses the first, other clients the second, nobody
# the third; public certificates need the timestamps.
_REFUSED_BY_OPENSSL = {
    "subject-key-identifier": "2.5.29.14",
    "name-constraints": "2.5.29.30",
    "distribution-points": "2.5.29.31",
    "authority-key-identifier": "2.5.29.35",
}
_MALFORMED: dict[Severity, dict[str, str]] = {
    "error": {
        **_REFUSED_BY_OPENSSL,
        "policies": "2.5.29.32",
        "policy-mappings": "2.5.29.33",
        "policy-constraints": "2.5.29.36",
        "inhibit-any": "2.5.29.54",
        "authority-access": "1.3.6.1.5.5.7.1.1",
        "tls-features": _FEATURES,
    },
    "warning": {"timestamps": _TIMESTAMPS},
    "info": {
        "issuer-alternative-name": "2.5.29.18",
        "freshest-crl": "2.5.29.46",
        "subject-access": "1.3.6.1.5.5.7.1.11",
    },
}


def cases() -> Iterator[Case]:
    yield from _basic_constraints()
    yield from _extensions()
    yield from _malformed()


def _odd(name: str, made: str, *findings: Expected, **parts: Any) -> Case:
    return public(f"odd-{name}", made, leaf(**parts), *findings)


def _basic_constraints() -> Iterator[Case]:
    def role(name: str, made: str, *inner: bytes, finding: Expected = _ODD) -> Case:
        value = raw_extension(_BASIC_CONSTRAINTS, der.sequence(*inner), True)
        return _odd(f"basic-constraints-{name}", made, finding, role=value)

    no = der.boolean(False)
    yield role("false", "CA:FALSE, written out.", no)
    yield role(
        "false-and-length", "CA:FALSE, written out, with a path length.", no, der.integer(0)
    ).but(findings=(_ODD, _ODD))
    yield role("length", "A path length, and no CA.", der.integer(3))


def _extensions() -> Iterator[Case]:
    decipher = der.element(0x03, b"\x07\x80\x80")
    yield _odd(
        "decipher-only",
        "keyUsage digitalSignature and decipherOnly, without keyAgreement.",
        _ODD,
        key_usage=raw_extension(_KEY_USAGE, decipher, True),
    )
    qualifier = der.sequence(der.oid("1.2.3.4.5"), der.integer(7))
    policy = der.sequence(der.oid("2.23.140.1.2.1"), der.sequence(qualifier))
    yield _odd(
        "policy-qualifier",
        "A certificate policy with a qualifier that nobody knows.",
        more=[raw_extension("2.5.29.32", der.sequence(policy))],
    )
    yield _odd(
        "tls-feature",
        "A TLS feature that nobody knows, beside OCSP stapling.",
        error("tls_feature_unknown"),
        more=[raw_extension(_FEATURES, der.sequence(der.integer(5), der.integer(4711)))],
    )
    good = raw_extension("1.2.3.4", b"\x05\x00")
    yield _odd(
        "extension-twice",
        "An unknown extension, twice.",
        error("extension_malformed"),
        more=[good] * 2,
    )
    yield _odd(
        "key-usage-padding",
        "keyUsage digitalSignature, and the bits that are not in use are set.",
        error("extension_malformed"),
        key_usage=raw_extension(_KEY_USAGE, b"\x03\x02\x07\xff", True),
    )
    policy = der.sequence(der.oid("2.23.140.1.2.1"))
    yield _odd(
        "policy-twice",
        "A certificate policy, twice.",
        error("extension_malformed"),
        more=[raw_extension("2.5.29.32", der.sequence(policy, policy))],
    )
    many = [raw_extension(f"1.2.3.{number}", b"\x05\x00", True) for number in range(101)]
    yield _odd(
        "extensions-107", "More than a hundred extensions.", error("pem_invalid"), more=many
    ).but(hostnames=(), trust="unreadable", served=0)
    not_critical = der.sequence(der.oid("1.2.3.4"), der.boolean(False), der.octets(b"\x05\x00"))
    yield _odd(
        "critical-false",
        "«Not critical», written out.",
        error("extension_malformed"),
        more=[not_critical],
    )
    generalized = [der.generalized_time(one) for one in (START, END)]
    yield public(
        "odd-generalized-time",
        "GeneralizedTime for years that have UTCTime.",
        draft_leaf().but(start=generalized[0], end=generalized[1]).signed(intermediate().key),
    )
    yield _odd(
        "san-unreadable",
        "subjectAltName is cut off.",
        error("san_invalid"),
        error("chain_broken"),
        names=raw_extension(_SAN, b"\x30\x09\x82\x05www"),
    ).but(hostnames=(), trust="incomplete", served=1)


def _malformed() -> Iterator[Case]:
    severities: tuple[Severity, ...] = ("error", "warning", "info")
    for severity in severities:
        for name, oid in _MALFORMED[severity].items():
            made = _odd(
                f"malformed-{name}",
                f"An extension (not critical) that cannot be read: {name}.",
                ("extension_malformed", severity, "body"),
                more=[raw_extension(oid, b"\x30\x05\x01")],
            )
            if name in _REFUSED_BY_OPENSSL:
                faults = *made.findings, error("chain_broken")
                made = made.but(findings=faults, trust="incomplete", served=1)
            yield made
    short = der.octets(b"\x00\x04\x00\x07ab")
    yield _odd(
        "timestamps-short",
        "A list of signed certificate timestamps whose lengths are wrong.",
        warning("extension_malformed"),
        more=[raw_extension(_TIMESTAMPS, short)],
    )
