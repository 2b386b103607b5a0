"""The certificates that the clients are shown: one fault or oddity each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from tests.corpus.authority import (
    ANY,
    CLIENT,
    Authority,
    Draft,
    basic,
    draft_authority,
    draft_leaf,
    name,
    purposes,
    raw_extension,
    san_of,
    self_signed,
    usage,
)
from tests.corpus.der import NULL, boolean, element, integer, octets, oid, sequence
from tests.corpus.keys import Signer, ec_key, ed448_key, ed25519_key, rsa_key, spki_of
from tests.differential.drafts import name_constraints, with_extension, without

NOW = datetime.now(UTC).replace(microsecond=0)
ROOT = self_signed("Client Check Root", ec_key("Client Check Root"))

_DAY = timedelta(days=1)
_BASIC, _USAGE, _EKU, _SAN = "2.5.29.19", "2.5.29.15", "2.5.29.37", "2.5.29.17"
_SKI, _AKI, _POLICIES, _CONSTRAINTS = "2.5.29.14", "2.5.29.35", "2.5.29.32", "2.5.29.30"
_AIA, _SCTS, _POISON = "1.3.6.1.5.5.7.1.1", "1.3.6.1.4.1.11129.2.4.2", "1.3.6.1.4.1.11129.2.4.3"
_TLS_FEATURE, _UNKNOWN = "1.3.6.1.5.5.7.1.24", "1.3.6.1.4.1.99999.9"
_LOCATIONS = sequence(sequence(oid("1.3.6.1.5.5.7.48.1"), element(0x86, b"http://o.example/")))
_POLICY = sequence(sequence(oid("2.23.140.1.2.1")))
_ODD_POLICY = sequence(sequence(oid("2.23.140.1.2.1"), sequence(sequence(oid("1.2.3"), NULL))))
_SHORT_ADDRESS = sequence(element(0xA0, sequence(element(0x87, b"\x01\x02\x03"))))
_DECIPHER_ONLY = b"\x03\x03\x07\x80\x80"
_DE = x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "DE")]))

Change = Callable[[Draft], Draft]


@dataclass(frozen=True)
class Variant:
    """`chain` is DER, leaf first, without the root; `code` is the finding that it is about."""

    code: str
    title: str
    hostname: str
    chain: tuple[bytes, ...]
    key: Signer


def variants() -> Iterator[Variant]:
    """Every variant; the first is without a fault."""
    for number, (code, title, change_leaf, change_issuer, key, host) in enumerate(_cases()):
        hostname = host.replace("#", str(number)) if host else f"v{number}.example.com"
        issuer_key = _ISSUERS_KEYS.get(title) or ec_key(f"issuer {number}")
        issuer = Authority(f"Issuer {number}", issuer_key)
        upper = draft_authority(issuer.title, issuer_key, ROOT).but(
            start=NOW - 100 * _DAY, end=NOW + 900 * _DAY
        )
        leaf = draft_leaf(hostname, by=issuer, spki=spki_of(key)).but(
            start=NOW - 5 * _DAY, end=NOW + 80 * _DAY
        )
        chain = (change_leaf(leaf).signed(issuer_key), change_issuer(upper).signed(ROOT.key))
        yield Variant(code, title, hostname, chain, key)


def _cases() -> Iterator[tuple[str, str, Change, Change, Signer, str]]:
    key = ec_key("client check")
    for code, title, change in _LEAVES:
        yield code, title, change, _same, key, ""
    for code, title, change in _ISSUERS:
        yield code, title, _same, change, key, ""
    for title, other in _KEYS.items():
        yield "key_weak", title, _same, _same, other, ""
    for title in _ISSUERS_KEYS:
        yield "key_weak", title, _same, _same, key, ""
    encrypts = _usage("key_encipherment")
    yield "key_usage_invalid", "RSA, keyEncipherment alone", encrypts, _same, rsa_key("2048"), ""
    yield "san_invalid", "underscore in a label", _same, _same, key, "a_b#.example.com"
    yield "san_invalid", "hyphen at a label's end", _same, _same, key, "x#-.t.example.com"


def _raw(dotted: str, value: bytes) -> Change:
    """A value in DER for an extension that is not critical."""
    return _with(dotted, raw_extension(dotted, value))


def _constraints(*permitted: x509.GeneralName, critical: bool = True) -> Change:
    return _with(_CONSTRAINTS, name_constraints(permitted, critical=critical))


def _printable(draft: Draft) -> Draft:
    """Its common name as PrintableString, where the certificate below has UTF8String."""
    at = draft.subject.rindex(b"\x06\x03\x55\x04\x03") + 5
    return draft.but(subject=draft.subject[:at] + b"\x13" + draft.subject[at + 1 :])


def _twice(draft: Draft) -> Draft:
    return draft.but(extensions=(*draft.extensions, usage("digital_signature")))


def _same(draft: Draft) -> Draft:
    return draft


def _with(dotted: str, value: bytes) -> Change:
    return lambda draft: with_extension(draft, dotted, value)


def _less(dotted: str) -> Change:
    return lambda draft: without(draft, dotted)


def _usage(*wanted: str) -> Change:
    return _with(_USAGE, usage(*wanted))


def _subject(tag: int, text: bytes) -> Change:
    return lambda draft: draft.but(subject=name(("2.5.4.3", element(tag, text))))


def _critical(dotted: str, value: bytes) -> Change:
    return _with(dotted, raw_extension(dotted, value, critical=True))


def _names(*more: bytes) -> Change:
    def change(draft: Draft) -> Draft:
        (host,) = (one for one in draft.extensions if oid(_SAN) in one[:12])
        hostname = host[host.index(b"\x82") + 2 :]
        return with_extension(draft, _SAN, san_of(element(0x82, hostname), *more))

    return change


_LEAVES: list[tuple[str, str, Change]] = [
    ("", "no fault", _same),
    ("expired", "leaf", lambda draft: draft.but(end=NOW - _DAY)),
    ("not_yet_valid", "leaf", lambda draft: draft.but(start=NOW + _DAY)),
    ("lifetime_too_long", "500 days, private CA", lambda draft: draft.but(end=NOW + 495 * _DAY)),
    ("lifetime_too_long", "900 days, private CA", lambda draft: draft.but(end=NOW + 895 * _DAY)),
    ("signature_weak", "leaf, SHA-1", lambda draft: draft.but(signature="ecdsa-sha1")),
    ("san_missing", "common name alone", _less(_SAN)),
    ("eku_missing", "clientAuth alone", _with(_EKU, purposes(CLIENT))),
    ("eku_missing", "anyExtendedKeyUsage alone", _with(_EKU, purposes(ANY))),
    ("eku_missing", "no extendedKeyUsage", _less(_EKU)),
    ("key_usage_invalid", "ECDSA, cRLSign alone", _usage("crl_sign")),
    ("key_usage_invalid", "ECDSA, keyCertSign and cRLSign", _usage("key_cert_sign", "crl_sign")),
    ("key_usage_invalid", "ECDSA, keyEncipherment alone", _usage("key_encipherment")),
    ("key_usage_invalid", "ECDSA, keyAgreement alone", _usage("key_agreement")),
    ("key_usage_invalid", "ECDSA, contentCommitment alone", _usage("content_commitment")),
    ("", "no keyUsage", _less(_USAGE)),
    ("is_ca", "CA:TRUE", _with(_BASIC, basic(True))),
    ("extension_critical", "unknown critical extension", _critical(_UNKNOWN, NULL)),
    ("precertificate", "poison extension", _critical(_POISON, NULL)),
    ("extension_critical", "critical AIA", _critical(_AIA, _LOCATIONS)),
    ("extension_critical", "critical SKI", _critical(_SKI, octets(b"0123456789"))),
    ("extension_critical", "critical AKI", _critical(_AKI, sequence())),
    (
        "aki_mismatch",
        "AKI differs from the issuer's SKI",
        _raw(_AKI, sequence(element(0x80, b"another key"))),
    ),
    ("", "critical certificatePolicies", _critical(_POLICIES, _POLICY)),
    ("subject_odd", "PrintableString with *", _subject(0x13, b"*.example.com")),
    ("subject_odd", "PrintableString with &", _subject(0x13, b"Ben & Jerry")),
    ("subject_odd", "UniversalString", _subject(0x1C, "ab".encode("utf-32-be"))),
    ("subject_odd", "TeletexString in Latin-1", _subject(0x14, b"caf\xe9")),
    ("subject_odd", "BMPString", _subject(0x1E, "ab".encode("utf-16-be"))),
    ("", "empty subject", lambda draft: draft.but(subject=name())),
    ("constraints_odd", "CA:FALSE written out", _critical(_BASIC, sequence(boolean(False)))),
    (
        "constraints_odd",
        "CA:FALSE with a path length",
        _critical(_BASIC, sequence(boolean(False), integer(0))),
    ),
    ("extension_odd", "broken SCT list", _raw(_SCTS, octets(b"\x00\x05\x00\x09ab"))),
    ("extension_odd", "unknown policy qualifier", _raw(_POLICIES, _ODD_POLICY)),
    ("extension_odd", "unknown TLS feature", _raw(_TLS_FEATURE, sequence(integer(99)))),
    ("must_staple", "OCSP must-staple, no staple", _raw(_TLS_FEATURE, sequence(integer(5)))),
    ("extension_odd", "decipherOnly without keyAgreement", _critical(_USAGE, _DECIPHER_ONLY)),
    ("extension_duplicate", "keyUsage twice", _twice),
    ("san_odd", "x400Address besides", _names(element(0xA3, sequence(NULL)))),
    ("san_odd", "ediPartyName besides", _names(element(0xA5, element(0xA1, element(0x0C, b"a"))))),
    ("san_odd", "a name with a trailing dot besides", _names(element(0x82, b"www.example.com."))),
    ("serial_odd", "serial number 0", lambda draft: draft.but(serial=0)),
    ("serial_odd", "negative serial number", lambda draft: draft.but(serial=-5)),
    ("serial_odd", "serial number of 26 octets", lambda draft: draft.but(serial=1 << 200)),
    ("version", "version 1", lambda draft: draft.but(version=0, extensions=())),
    (
        "time_odd",
        "GeneralizedTime before 2050",
        lambda draft: draft.but(start=element(0x18, f"{NOW - 5 * _DAY:%Y%m%d%H%M%SZ}".encode())),
    ),
]

_ISSUERS: list[tuple[str, str, Change]] = [
    ("expired", "intermediate", lambda draft: draft.but(end=NOW - _DAY)),
    ("not_yet_valid", "intermediate", lambda draft: draft.but(start=NOW + _DAY)),
    ("signature_weak", "intermediate, SHA-1", lambda draft: draft.but(signature="ecdsa-sha1")),
    ("chain_broken", "intermediate for clients", _with(_EKU, purposes(CLIENT))),
    ("", "intermediate for anything", _with(_EKU, purposes(ANY))),
    ("chain_broken", "intermediate with CA:FALSE", _with(_BASIC, basic(False))),
    ("chain_broken", "intermediate without basicConstraints", _less(_BASIC)),
    ("chain_broken", "intermediate may not sign", _usage("crl_sign")),
    ("", "intermediate without keyUsage", _less(_USAGE)),
    ("extension_critical", "intermediate, unknown critical extension", _critical(_UNKNOWN, NULL)),
    ("extension_critical", "intermediate, critical AIA", _critical(_AIA, _LOCATIONS)),
    ("", "critical policyConstraints", _critical("2.5.29.36", sequence(element(0x81, b"\x00")))),
    ("", "name constraint with a leading dot", _constraints(x509.DNSName(".example.com"))),
    ("chain_broken", "name constraints violated", _constraints(x509.DNSName("example.org"))),
    ("chain_broken", "directoryName constraint violated", _constraints(_DE, critical=False)),
    ("chain_broken", "nameConstraints malformed", _critical(_CONSTRAINTS, b"\x04\x01\x00")),
    ("chain_broken", "iPAddress constraint of 3 octets", _critical(_CONSTRAINTS, _SHORT_ADDRESS)),
    ("subject_odd", "intermediate, other string type", _printable),
    ("serial_odd", "intermediate's serial number 0", lambda draft: draft.but(serial=0)),
]

_KEYS: dict[str, Signer] = {
    "RSA-2048": rsa_key("2048"),
    "RSA-1024": rsa_key("1024"),
    "P-384": ec_key("client check", ec.SECP384R1()),
    "P-521": ec_key("client check", ec.SECP521R1()),
    "P-224": ec_key("client check", ec.SECP224R1()),
    "Ed25519": ed25519_key("client check"),
    "Ed448": ed448_key("client check"),
}
_ISSUERS_KEYS = {f"intermediate, {title}": key for title, key in _KEYS.items()}
