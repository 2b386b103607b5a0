"""Faults and oddities of the intermediate."""

from datetime import timedelta

from cryptography import x509

from tests.corpus.authority import ANY, CLIENT, SERVER, basic, purposes
from tests.corpus.der import NULL, boolean, element, integer, sequence

from .changes import (
    AIA,
    BASIC,
    CONSTRAINTS,
    DISTRIBUTION_POINTS,
    EKU,
    INHIBIT_ANY,
    NOW,
    POLICIES,
    POLICY_CONSTRAINTS,
    TLS_FEATURE,
    UNKNOWN,
    USAGE,
    Change,
    critical,
    extended,
    permitted,
    plain,
    signed_with,
    used,
    without,
    written_as,
)
from .leaves import LOCATIONS, POINTS, POLICY

_DAY = timedelta(days=1)
_DE = x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "DE")]))


def _subtree(tag: int, value: bytes, *more: bytes) -> bytes:
    return sequence(element(0xA0, sequence(element(tag, value), *more)))


ISSUERS: list[tuple[str, Change]] = [
    ("expired", lambda draft: draft.but(end=NOW - _DAY)),
    ("not yet valid", lambda draft: draft.but(start=NOW + _DAY)),
    ("signed with SHA-1", signed_with("ecdsa-sha1")),
    ("signed with SHA-224", signed_with("ecdsa-sha224")),
    ("for clients", extended(EKU, purposes(CLIENT))),
    ("for anything", extended(EKU, purposes(ANY))),
    ("for servers and anything", extended(EKU, purposes(SERVER, ANY))),
    ("for Netscape's server gated crypto", extended(EKU, purposes("2.16.840.1.113730.4.1"))),
    ("for servers and OCSPSigning", extended(EKU, purposes(SERVER, "1.3.6.1.5.5.7.3.9"))),
    ("CA:FALSE", extended(BASIC, basic(False))),
    ("no basicConstraints", without(BASIC)),
    ("basicConstraints not critical", plain(BASIC, sequence(boolean(True)))),
    ("CA:TRUE written as 1", critical(BASIC, sequence(element(1, b"\x01")))),
    ("a negative path length", critical(BASIC, sequence(boolean(True), integer(-1)))),
    ("a path length of 9 octets", critical(BASIC, sequence(boolean(True), integer(1 << 64)))),
    ("may not sign", used("crl_sign")),
    ("no keyUsage", without(USAGE)),
    ("keyUsage with unused bits set", critical(USAGE, b"\x03\x02\x02\x07")),
    ("unknown critical extension", critical(UNKNOWN, NULL)),
    ("critical authorityInfoAccess", critical(AIA, LOCATIONS)),
    ("critical cRLDistributionPoints", critical(DISTRIBUTION_POINTS, POINTS)),
    ("critical certificatePolicies", critical(POLICIES, POLICY)),
    (
        "critical policyConstraints, no mapping",
        critical(POLICY_CONSTRAINTS, sequence(element(0x81, b"\x00"))),
    ),
    (
        "critical policyConstraints, a policy is required",
        critical(POLICY_CONSTRAINTS, sequence(element(0x80, b"\x00"))),
    ),
    ("critical inhibitAnyPolicy", critical(INHIBIT_ANY, integer(0))),
    ("TLS feature OCSP must-staple", plain(TLS_FEATURE, sequence(integer(5)))),
    ("name constraint with a leading dot", permitted(x509.DNSName(".example.com"))),
    ("name constraints violated", permitted(x509.DNSName("example.org"))),
    ("directoryName constraint violated", permitted(_DE, is_critical=False)),
    ("nameConstraints malformed", critical(CONSTRAINTS, b"\x04\x01\x00")),
    ("nameConstraints empty", critical(CONSTRAINTS, sequence())),
    ("iPAddress constraint of 3 octets", critical(CONSTRAINTS, _subtree(0x87, b"\x01\x02\x03"))),
    (
        "iPAddress constraint, mask with a gap",
        critical(CONSTRAINTS, _subtree(0x87, b"\xc0\x00\x02\x00\xff\x00\xff\x00")),
    ),
    (
        "dNSName constraint that is not ASCII",
        critical(CONSTRAINTS, _subtree(0x82, "\u00e9.example".encode())),
    ),
    (
        "dNSName constraint with a maximum",
        critical(CONSTRAINTS, _subtree(0x82, b"example.com", element(0x81, b"\x05"))),
    ),
    (
        "dNSName constraint with minimum 0 written out",
        critical(CONSTRAINTS, _subtree(0x82, b"example.com", element(0x80, b"\x00"))),
    ),
    ("registeredID constraint", critical(CONSTRAINTS, _subtree(0x88, b"\x2a\x03\x04"))),
    ("name in another string type", written_as(0x13, bytes)),
    ("name in another case", written_as(0x0C, bytes.upper)),
    ("serial number 0", lambda draft: draft.but(serial=0)),
    ("version 1", lambda draft: draft.but(version=0, extensions=())),
    ("version 1 with extensions", lambda draft: draft.but(version=0)),
]
