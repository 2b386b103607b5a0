"""Faults and oddities of the leaf."""

from datetime import timedelta

from tests.corpus.authority import (
    ANY,
    CLIENT,
    SERVER,
    Draft,
    basic,
    name,
    purposes,
    raw_extension,
    usage,
)
from tests.corpus.der import (
    NULL,
    boolean,
    element,
    generalized_time,
    integer,
    octets,
    oid,
    sequence,
)
from tests.differential.drafts import with_extension

from .changes import (
    ADDRESS_BLOCKS,
    AIA,
    AKI,
    BASIC,
    DISTRIBUTION_POINTS,
    EKU,
    FRESHEST_CRL,
    INHIBIT_ANY,
    ISSUER_NAMES,
    NETSCAPE_TYPE,
    NOW,
    OCSP_NO_CHECK,
    POISON,
    POLICIES,
    POLICY_CONSTRAINTS,
    POLICY_MAPPINGS,
    PROXY,
    SAN,
    SCTS,
    SIA,
    SKI,
    TLS_FEATURE,
    UNKNOWN,
    USAGE,
    Change,
    added,
    besides,
    critical,
    extended,
    named,
    plain,
    same,
    signed_with,
    used,
    without,
)

_DAY = timedelta(days=1)
LOCATIONS = sequence(sequence(oid("1.3.6.1.5.5.7.48.1"), element(0x86, b"http://o.example/")))
POLICY = sequence(sequence(oid("2.23.140.1.2.1")))
POINTS = sequence(sequence(element(0xA0, element(0xA0, element(0x86, b"http://o.example/a.crl")))))
_ODD_POLICY = sequence(sequence(oid("2.23.140.1.2.1"), sequence(sequence(oid("1.2.3"), NULL))))
_BLOCKS = sequence(sequence(octets(b"\x00\x01"), NULL))
_CUT_OFF = b"\x30\x05\x01"
_UNKNOWN = raw_extension(UNKNOWN, NULL)


def _dns(value: bytes) -> Change:
    return besides(element(0x82, value))


def _address(value: bytes) -> Change:
    return besides(element(0x87, value))


def _nobody_but_critical_names(draft: Draft) -> Draft:
    (names,) = (one for one in draft.extensions if oid(SAN) in one[:12])
    value = names[names.index(oid(SAN)) + len(oid(SAN)) :]
    is_critical = sequence(oid(SAN), boolean(True), value)
    return with_extension(draft.but(subject=name()), SAN, is_critical)


LEAVES: list[tuple[str, Change]] = [
    ("no fault", same),
    ("expired", lambda draft: draft.but(end=NOW - _DAY)),
    ("not yet valid", lambda draft: draft.but(start=NOW + _DAY)),
    ("500 days, private CA", lambda draft: draft.but(end=NOW + 495 * _DAY)),
    ("900 days, private CA", lambda draft: draft.but(end=NOW + 895 * _DAY)),
    (
        "GeneralizedTime before 2050",
        lambda draft: draft.but(start=generalized_time(NOW - 5 * _DAY)),
    ),
    # The signature.
    ("signed with SHA-1", signed_with("ecdsa-sha1")),
    ("signed with SHA-224", signed_with("ecdsa-sha224")),
    ("signed with SHA-512", signed_with("ecdsa-sha512")),
    ("signed with SHA3-256", signed_with("ecdsa-sha3_256")),
    ("ECDSA with NULL as parameters", signed_with("ecdsa-null-sha256")),
    # The names.
    ("common name alone", without(SAN)),
    ("empty subject", lambda draft: draft.but(subject=name())),
    ("empty subject, subjectAltName critical", _nobody_but_critical_names),
    ("PrintableString with *", named(0x13, b"*.example.com")),
    ("PrintableString with &", named(0x13, b"Ben & Jerry")),
    ("PrintableString with @", named(0x13, b"ben@example.com")),
    ("PrintableString with _", named(0x13, b"ben_jerry")),
    ("UniversalString", named(0x1C, "ab".encode("utf-32-be"))),
    ("TeletexString in Latin-1", named(0x14, b"caf\xe9")),
    ("BMPString", named(0x1E, "ab".encode("utf-16-be"))),
    ("IA5String that is not ASCII", named(0x16, b"caf\xe9")),
    ("NumericString with letters", named(0x12, b"abc")),
    (
        "a part of the subject without an attribute",
        lambda draft: draft.but(subject=sequence(element(0x31))),
    ),
    ("a name that is not a hostname besides", _dns(b"a b.example.com")),
    ("a name that is not ASCII besides", _dns("\u00e9.example.com".encode())),
    ("an empty name besides", _dns(b"")),
    ("a wildcard in the middle besides", _dns(b"www.*.example.com")),
    ("an IP address as a DNS name besides", _dns(b"192.0.2.1")),
    ("a name with a trailing dot besides", _dns(b"www.example.com.")),
    ("an IP address of 3 octets besides", _address(b"\x01\x02\x03")),
    ("an IP address with a mask besides", _address(b"\xc0\x00\x02\x00\xff\xff\xff\x00")),
    ("x400Address besides", besides(element(0xA3, sequence(NULL)))),
    ("ediPartyName besides", besides(element(0xA5, element(0xA1, element(0x0C, b"a"))))),
    ("a name of an unknown kind besides", besides(element(0x89, b"a"))),
    ("subjectAltName cut off", plain(SAN, _CUT_OFF)),
    # The purposes.
    ("clientAuth alone", extended(EKU, purposes(CLIENT))),
    ("anyExtendedKeyUsage alone", extended(EKU, purposes(ANY))),
    ("serverAuth and anyExtendedKeyUsage", extended(EKU, purposes(SERVER, ANY))),
    ("serverAuth and OCSPSigning", extended(EKU, purposes(SERVER, "1.3.6.1.5.5.7.3.9"))),
    ("Netscape's server gated crypto alone", extended(EKU, purposes("2.16.840.1.113730.4.1"))),
    ("no extendedKeyUsage", without(EKU)),
    ("extendedKeyUsage empty", plain(EKU, sequence())),
    ("Netscape's certificate type: client", plain(NETSCAPE_TYPE, b"\x03\x02\x07\x80")),
    ("Netscape's certificate type: server", plain(NETSCAPE_TYPE, b"\x03\x02\x06\x40")),
    ("ECDSA, cRLSign alone", used("crl_sign")),
    ("ECDSA, keyCertSign and cRLSign", used("key_cert_sign", "crl_sign")),
    ("ECDSA, digitalSignature and keyCertSign", used("digital_signature", "key_cert_sign")),
    ("ECDSA, keyEncipherment alone", used("key_encipherment")),
    ("ECDSA, keyAgreement alone", used("key_agreement")),
    ("ECDSA, contentCommitment alone", used("content_commitment")),
    ("no keyUsage", without(USAGE)),
    ("keyUsage without a bit", critical(USAGE, b"\x03\x01\x00")),
    ("keyUsage with unused bits set", critical(USAGE, b"\x03\x02\x07\xff")),
    ("keyUsage with zero bits written", critical(USAGE, b"\x03\x02\x00\x80")),
    ("decipherOnly without keyAgreement", critical(USAGE, b"\x03\x03\x07\x80\x80")),
    ("keyUsage twice", added(usage("digital_signature"))),
    # The role.
    ("CA:TRUE", extended(BASIC, basic(True))),
    ("CA:FALSE written out", critical(BASIC, sequence(boolean(False)))),
    ("CA:FALSE with a path length", critical(BASIC, sequence(boolean(False), integer(0)))),
    ("a path length and no CA", critical(BASIC, sequence(integer(3)))),
    ("a negative path length", critical(BASIC, sequence(boolean(True), integer(-1)))),
    (
        "a proxy certificate (RFC 3820)",
        critical(PROXY, sequence(sequence(oid("1.3.6.1.5.5.7.21.1")))),
    ),
    # Critical extensions.
    ("unknown critical extension", critical(UNKNOWN, NULL)),
    ("poison extension", critical(POISON, NULL)),
    ("critical authorityInfoAccess", critical(AIA, LOCATIONS)),
    ("critical subjectInfoAccess", critical(SIA, LOCATIONS)),
    ("critical subjectKeyIdentifier", critical(SKI, octets(b"0123456789"))),
    ("critical authorityKeyIdentifier", critical(AKI, sequence())),
    ("critical certificatePolicies", critical(POLICIES, POLICY)),
    ("critical cRLDistributionPoints", critical(DISTRIBUTION_POINTS, POINTS)),
    ("critical freshestCRL", critical(FRESHEST_CRL, POINTS)),
    ("critical issuerAltName", critical(ISSUER_NAMES, sequence(element(0x82, b"a.example")))),
    ("critical Netscape certificate type", critical(NETSCAPE_TYPE, b"\x03\x02\x06\x40")),
    ("critical IP address blocks (RFC 3779)", critical(ADDRESS_BLOCKS, _BLOCKS)),
    ("critical ocsp-nocheck", critical(OCSP_NO_CHECK, NULL)),
    ("critical TLS features", critical(TLS_FEATURE, sequence(integer(5)))),
    # Odd extensions.
    ("AKI differs from the issuer's SKI", plain(AKI, sequence(element(0x80, b"another key")))),
    ("unknown extension twice", added(_UNKNOWN, _UNKNOWN)),
    ("«not critical» written out", added(sequence(oid(UNKNOWN), boolean(False), octets(NULL)))),
    ("critical written as 1", added(sequence(oid(POLICIES), element(1, b"\x01"), octets(POLICY)))),
    ("subjectKeyIdentifier cut off", plain(SKI, _CUT_OFF)),
    ("authorityKeyIdentifier cut off", plain(AKI, _CUT_OFF)),
    ("cRLDistributionPoints cut off", plain(DISTRIBUTION_POINTS, _CUT_OFF)),
    ("certificatePolicies cut off", plain(POLICIES, _CUT_OFF)),
    ("a policy twice", plain(POLICIES, sequence(POLICY[2:], POLICY[2:]))),
    ("policyMappings cut off", plain(POLICY_MAPPINGS, _CUT_OFF)),
    ("policyConstraints cut off", plain(POLICY_CONSTRAINTS, _CUT_OFF)),
    ("inhibitAnyPolicy cut off", plain(INHIBIT_ANY, _CUT_OFF)),
    ("authorityInfoAccess cut off", plain(AIA, _CUT_OFF)),
    ("subjectInfoAccess cut off", plain(SIA, _CUT_OFF)),
    ("issuerAltName cut off", plain(ISSUER_NAMES, _CUT_OFF)),
    ("freshestCRL cut off", plain(FRESHEST_CRL, _CUT_OFF)),
    ("TLS features cut off", plain(TLS_FEATURE, _CUT_OFF)),
    ("Netscape certificate type cut off", plain(NETSCAPE_TYPE, _CUT_OFF)),
    ("broken SCT list", plain(SCTS, octets(b"\x00\x05\x00\x09ab"))),
    ("unknown policy qualifier", plain(POLICIES, _ODD_POLICY)),
    ("unknown TLS feature", plain(TLS_FEATURE, sequence(integer(99)))),
    ("OCSP must-staple, no staple", plain(TLS_FEATURE, sequence(integer(5)))),
    # The rest.
    ("serial number 0", lambda draft: draft.but(serial=0)),
    ("negative serial number", lambda draft: draft.but(serial=-5)),
    ("serial number of 26 octets", lambda draft: draft.but(serial=1 << 200)),
    ("version 1", lambda draft: draft.but(version=0, extensions=())),
    ("version 1 with extensions", lambda draft: draft.but(version=0)),
    ("version 2 with extensions", lambda draft: draft.but(version=1)),
]
