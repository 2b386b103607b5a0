"""Faults and oddities of a PKI. Each fault changes the drafts before they are signed.

A fault here is anything that a verifier might judge: many are harmless, which is the point.
"""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from ..corpus.authority import (
    ANY,
    CLIENT,
    SERVER,
    Authority,
    Draft,
    aki,
    basic,
    extension,
    name,
    purposes,
    raw_extension,
    san,
    san_of,
    ski,
    usage,
)
from ..corpus.der import NULL, boolean, element, generalized_time, integer, octets, oid, sequence
from ..corpus.keys import Signer, ec_key, ed25519_key, rsa_key, spki_of
from .drafts import name_constraints, with_extension, without
from .roots import NOW

_SOON = NOW + timedelta(days=3)
_JUST_NOW = NOW - timedelta(days=3)
_BASIC, _USAGE, _EKU, _SAN = "2.5.29.19", "2.5.29.15", "2.5.29.37", "2.5.29.17"
_SKI, _AKI, _POLICIES = "2.5.29.14", "2.5.29.35", "2.5.29.32"
_AIA = "1.3.6.1.5.5.7.1.1"


@dataclass
class Node:
    """A certificate to be made: its draft, its own key and the key that signs it.

    `signs_itself`: whatever faults do to `signer`, its own key signs it.
    """

    draft: Draft
    key: Signer
    signer: Signer
    is_tampered: bool = False
    signs_itself: bool = False
    _made: bytes = field(default=b"", init=False)

    def der(self) -> bytes:
        """Signed once: an RSA-PSS signature is another one each time."""
        if not self._made:
            made = self.draft.signed(self.key if self.signs_itself else self.signer)
            self._made = made[:-1] + bytes([made[-1] ^ 1]) if self.is_tampered else made
        return self._made


@dataclass
class Plan:
    """A PKI before it is signed: the leaf first, then its intermediates upwards.

    `sent_along` are DER certificates that are sent too; `left_out` are places in `nodes` that are
    not sent. `shuffled`: the certificates are not sent in order.
    """

    random: Random
    nodes: list[Node]
    root: Authority
    sent_along: list[bytes] = field(default_factory=list)
    left_out: set[int] = field(default_factory=set)
    shuffled: bool = False

    @property
    def leaf(self) -> Node:
        return self.nodes[0]

    def intermediate(self) -> Node | None:
        """One of the intermediates."""
        return self.random.choice(self.nodes[1:]) if len(self.nodes) > 1 else None

    def anyone(self) -> Node:
        return self.random.choice(self.nodes)


Fault = Callable[[Plan], None]
FAULTS: dict[str, Fault] = {}


def _fault(function: Fault) -> Fault:
    FAULTS[function.__name__] = function
    return function


def of_intermediate(change: Callable[[Draft, Random], Draft]) -> Fault:
    def fault(plan: Plan) -> None:
        node = plan.intermediate()
        if node:
            node.draft = change(node.draft, plan.random)

    return fault


def of_leaf(change: Callable[[Draft, Random], Draft]) -> Fault:
    def fault(plan: Plan) -> None:
        plan.leaf.draft = change(plan.leaf.draft, plan.random)

    return fault


def one_of(dotted: str, *values: bytes) -> Callable[[Draft, Random], Draft]:
    """One of `values` in place of the extension `dotted`."""
    return lambda draft, random: with_extension(draft, dotted, random.choice(values))


def _unknown(critical: bool) -> bytes:
    return raw_extension("1.3.6.1.4.1.99999.9", NULL, critical)


def _general_subtree(tag: int, value: bytes) -> bytes:
    return sequence(element(tag, value))


def _raw_constraints(*subtrees: bytes, critical: bool = True) -> bytes:
    return raw_extension("2.5.29.30", sequence(element(0xA0, *subtrees)), critical)


_DE = x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "DE")]))
_CN = x509.DirectoryName(
    x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "www.example.com")])
)
_NO_ADDRESS = x509.IPAddress(ipaddress.ip_network("0.0.0.0/0"))
_POLICY = sequence(sequence(oid("2.23.140.1.2.1")))
_ODD_POLICY = sequence(sequence(oid("2.23.140.1.2.1"), sequence(sequence(oid("1.2.3.4"), NULL))))
_LOCATIONS = sequence(sequence(oid("1.3.6.1.5.5.7.48.1"), element(0x86, b"http://o.example/")))

# Faults of one certificate: the name, on whom, and the change.
FAULTS |= {
    "leaf_expired": of_leaf(lambda draft, _: draft.but(end=_JUST_NOW)),
    "leaf_not_yet_valid": of_leaf(lambda draft, _: draft.but(start=_SOON)),
    "leaf_ends_before_it_begins": of_leaf(
        lambda draft, _: draft.but(start=_SOON, end=_JUST_NOW)
    ),
    "leaf_generalized_time": of_leaf(
        lambda draft, _: draft.but(start=generalized_time(datetime(2026, 11, 1, tzinfo=UTC)))
    ),
    "leaf_without_end": of_leaf(
        lambda draft, _: draft.but(end=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    ),
    "leaf_purposes": of_leaf(
        one_of(
            _EKU,
            purposes(CLIENT),
            purposes(ANY),
            purposes(SERVER, ANY),
            purposes("1.3.6.1.5.5.7.3.3"),
            purposes("1.3.6.1.4.1.311.10.3.3"),
            purposes("2.16.840.1.113730.4.1"),
            extension(x509.ExtendedKeyUsage([x509.ObjectIdentifier(SERVER)]), critical=True),
        )
    ),
    "leaf_no_purpose": of_leaf(lambda draft, _: without(draft, _EKU)),
    "leaf_key_usage": of_leaf(
        one_of(
            _USAGE,
            usage("crl_sign"),
            usage("key_encipherment"),
            usage("key_agreement"),
            usage("key_agreement", "decipher_only"),
            usage("data_encipherment"),
            usage("content_commitment"),
            usage("key_cert_sign", "crl_sign"),
            usage("digital_signature", "key_cert_sign"),
        )
    ),
    "leaf_decipher_only": of_leaf(
        one_of(_USAGE, raw_extension(_USAGE, b"\x03\x03\x07\x80\x80", critical=True))
    ),
    "leaf_no_key_usage": of_leaf(lambda draft, _: without(draft, _USAGE)),
    "leaf_basic_constraints": of_leaf(
        one_of(
            _BASIC,
            basic(True),
            basic(True, 0),
            raw_extension(_BASIC, sequence(boolean(False)), critical=True),
            raw_extension(_BASIC, sequence(boolean(False), integer(0)), critical=False),
            raw_extension(_BASIC, sequence(), critical=False),
        )
    ),
    "leaf_no_basic_constraints": of_leaf(lambda draft, _: without(draft, _BASIC)),
    "leaf_names": of_leaf(
        one_of(
            _SAN,
            san("www.example.com", "*.example.com"),
            san("a_b.example.com"),
            san("www.example.com", "a_b.example.com"),
            san("x-.example.com"),
            san(x509.IPAddress(ipaddress.ip_address("192.0.2.1"))),
            san("www.example.com", x509.IPAddress(ipaddress.ip_address("2001:db8::1"))),
            san("www.example.com", x509.RFC822Name("ada@example.com")),
            san("www.example.com", x509.UniformResourceIdentifier("https://example.com/")),
            san("www.example.com", _DE),
            san_of(element(0x82, b"www.example.com"), element(0xA3, sequence(NULL))),
            san_of(element(0x82, b"www.example.com"), element(0xA5, element(0xA1, NULL))),
            san_of(element(0x82, b"www.example.com."), element(0x82, b"www.example.com")),
            san("localhost"),
            san("www.example.org"),
            san("sub.www.example.com"),
        )
    ),
    "leaf_no_names": of_leaf(lambda draft, _: without(draft, _SAN)),
    "leaf_empty_subject": of_leaf(lambda draft, _: draft.but(subject=name())),
    "leaf_odd_subject": of_leaf(
        lambda draft, random: draft.but(
            subject=name(
                random.choice(
                    [
                        ("2.5.4.3", element(0x13, b"*.example.com")),
                        ("2.5.4.3", element(0x13, b"Ben & Jerry")),
                        ("2.5.4.3", element(0x1C, "www.example.com".encode("utf-32-be"))),
                        ("2.5.4.3", element(0x1E, "www.example.com".encode("utf-16-be"))),
                        ("2.5.4.3", element(0x14, b"caf\xe9.example.com")),
                        ("2.5.4.3", element(0x16, b"www.example.com")),
                        ("1.2.3.4.5", element(0x0C, b"odd")),
                    ]
                )
            )
        )
    ),
    "leaf_serial": of_leaf(
        lambda draft, random: draft.but(serial=random.choice([0, -5, 1, 1 << 158, 1 << 200]))
    ),
    "leaf_unknown_extension": of_leaf(one_of("1.3.6.1.4.1.99999.9", _unknown(False))),
    "leaf_unknown_critical_extension": of_leaf(one_of("1.3.6.1.4.1.99999.9", _unknown(True))),
    "leaf_precertificate": of_leaf(
        one_of("1.3.6.1.4.1.11129.2.4.3", raw_extension("1.3.6.1.4.1.11129.2.4.3", NULL, True))
    ),
    "leaf_broken_sct_list": of_leaf(
        one_of(
            "1.3.6.1.4.1.11129.2.4.2",
            raw_extension("1.3.6.1.4.1.11129.2.4.2", octets(b"\x00\x05\x00\x09abc")),
        )
    ),
    "leaf_critical_policies": of_leaf(
        one_of(_POLICIES, raw_extension(_POLICIES, _POLICY, critical=True))
    ),
    "leaf_odd_policy_qualifier": of_leaf(
        one_of(_POLICIES, raw_extension(_POLICIES, _ODD_POLICY))
    ),
    "leaf_odd_tls_feature": of_leaf(
        one_of("1.3.6.1.5.5.7.1.24", raw_extension("1.3.6.1.5.5.7.1.24", sequence(integer(99))))
    ),
    "leaf_critical_aia": of_leaf(one_of(_AIA, raw_extension(_AIA, _LOCATIONS, critical=True))),
    "leaf_critical_ski": of_leaf(
        one_of(_SKI, raw_extension(_SKI, octets(b"0123456789"), critical=True))
    ),
    "leaf_version_1": of_leaf(lambda draft, _: draft.but(version=0, extensions=())),
    "leaf_two_of_an_extension": of_leaf(
        lambda draft, _: draft.but(extensions=(*draft.extensions, usage("digital_signature")))
    ),
    "intermediate_expired": of_intermediate(lambda draft, _: draft.but(end=_JUST_NOW)),
    "intermediate_not_yet_valid": of_intermediate(lambda draft, _: draft.but(start=_SOON)),
    "intermediate_ends_before_the_leaf": of_intermediate(lambda draft, _: draft.but(end=_SOON)),
    "intermediate_is_no_authority": of_intermediate(
        one_of(
            _BASIC,
            basic(False),
            raw_extension(_BASIC, sequence(boolean(False)), critical=True),
            raw_extension(_BASIC, sequence(), critical=True),
        )
    ),
    "intermediate_no_basic_constraints": of_intermediate(lambda draft, _: without(draft, _BASIC)),
    "intermediate_constraints_not_critical": of_intermediate(
        one_of(_BASIC, raw_extension(_BASIC, sequence(boolean(True)), critical=False))
    ),
    "intermediate_path_length": of_intermediate(
        one_of(_BASIC, basic(True, 0), basic(True, 1), basic(True, 5))
    ),
    "intermediate_key_usage": of_intermediate(
        one_of(
            _USAGE,
            usage("digital_signature"),
            usage("crl_sign"),
            usage("key_cert_sign"),
            raw_extension(_USAGE, b"\x03\x02\x02\x04", critical=False),
        )
    ),
    "intermediate_no_key_usage": of_intermediate(lambda draft, _: without(draft, _USAGE)),
    "intermediate_purposes": of_intermediate(
        one_of(
            _EKU,
            purposes(SERVER),
            purposes(SERVER, CLIENT),
            purposes(CLIENT),
            purposes(ANY),
            purposes("1.3.6.1.5.5.7.3.4"),
        )
    ),
    "intermediate_permits_dns": of_intermediate(
        one_of(
            "2.5.29.30",
            name_constraints([x509.DNSName("example.com")]),
            name_constraints([x509.DNSName("example.com")], critical=False),
            name_constraints([x509.DNSName("example.org")]),
            name_constraints([x509.DNSName("example.org")], critical=False),
            name_constraints([x509.DNSName("www.example.com")]),
            name_constraints([x509.DNSName(".example.com")]),
            name_constraints([x509.DNSName(".example.org")]),
            name_constraints([x509.DNSName("")]),
            name_constraints([x509.DNSName("EXAMPLE.com")]),
        )
    ),
    "intermediate_excludes_dns": of_intermediate(
        one_of(
            "2.5.29.30",
            name_constraints(excluded=[x509.DNSName("example.com")]),
            name_constraints(excluded=[x509.DNSName("example.org")], critical=False),
            name_constraints(excluded=[x509.DNSName("")]),
            name_constraints([x509.DNSName("example.com")], [x509.DNSName("www.example.com")]),
        )
    ),
    "intermediate_constrains_directory": of_intermediate(
        one_of(
            "2.5.29.30",
            name_constraints([_DE]),
            name_constraints([_DE], critical=False),
            name_constraints([_CN]),
            name_constraints([_CN, x509.DNSName("example.com")], [_NO_ADDRESS]),
            name_constraints(excluded=[_CN]),
            name_constraints(excluded=[_DE]),
        )
    ),
    "intermediate_constrains_others": of_intermediate(
        one_of(
            "2.5.29.30",
            name_constraints([x509.IPAddress(ipaddress.ip_network("192.0.2.0/24"))]),
            name_constraints(excluded=[x509.IPAddress(ipaddress.ip_network("192.0.2.0/24"))]),
            name_constraints([x509.RFC822Name("example.com")]),
            name_constraints([x509.RFC822Name("example.org")]),
            name_constraints([x509.UniformResourceIdentifier("example.org")]),
            _raw_constraints(_general_subtree(0x88, b"\x2a\x03\x04")),
            _raw_constraints(_general_subtree(0x87, b"\x01\x02\x03")),
            raw_extension("2.5.29.30", b"\x04\x01\x00", critical=True),
        )
    ),
    "intermediate_unknown_extension": of_intermediate(
        one_of("1.3.6.1.4.1.99999.9", _unknown(False))
    ),
    "intermediate_unknown_critical_extension": of_intermediate(
        one_of("1.3.6.1.4.1.99999.9", _unknown(True))
    ),
    "intermediate_policy_extensions": of_intermediate(
        one_of(
            "2.5.29.36",
            raw_extension("2.5.29.36", sequence(element(0x80, b"\x00")), critical=True),
            raw_extension("2.5.29.36", sequence(element(0x81, b"\x00")), critical=True),
            raw_extension("2.5.29.54", integer(0), critical=True),
            raw_extension(_POLICIES, _POLICY, critical=True),
            raw_extension(
                "2.5.29.33",
                sequence(sequence(oid("2.23.140.1.2.1"), oid("1.2.3.4"))),
                critical=True,
            ),
        )
    ),
    "intermediate_critical_aia": of_intermediate(
        one_of(_AIA, raw_extension(_AIA, _LOCATIONS, critical=True))
    ),
    "intermediate_no_ski": of_intermediate(lambda draft, _: without(draft, _SKI)),
    "intermediate_version_1": of_intermediate(
        lambda draft, _: draft.but(version=0, extensions=())
    ),
    "intermediate_serial": of_intermediate(
        lambda draft, random: draft.but(serial=random.choice([0, -5, 1, 1 << 200]))
    ),
}  # fmt: skip


@_fault
def signature_broken(plan: Plan) -> None:
    plan.anyone().is_tampered = True


@_fault
def signed_by_another_key(plan: Plan) -> None:
    plan.anyone().signer = ec_key("somebody else")


@_fault
def signature_weak(plan: Plan) -> None:
    node = plan.anyone()
    kind = "rsa" if not isinstance(node.signer, ec.EllipticCurvePrivateKey) else "ecdsa"
    node.draft = node.draft.but(signature=f"{kind}-sha1")


@_fault
def inner_signature_differs(plan: Plan) -> None:
    node = plan.anyone()
    node.draft = node.draft.but(inner_signature="rsa-sha1")


@_fault
def leaf_key(plan: Plan) -> None:
    keys: list[Signer] = [
        rsa_key("2048" if plan.root.title == "Weak Root" else "1024"),
        rsa_key("2048"),
        ec_key("leaf", ec.SECP384R1()),
        ec_key("leaf", ec.SECP521R1()),
        ec_key("leaf", ec.SECP224R1()),
        ed25519_key("leaf"),
    ]
    give_key(plan, 0, plan.random.choice(keys))


@_fault
def intermediate_key(plan: Plan) -> None:
    if len(plan.nodes) > 1:
        keys: list[Signer] = [
            rsa_key("3072"),
            ec_key("intermediate", ec.SECP384R1()),
            ed25519_key("intermediate"),
        ]
        give_key(plan, plan.random.randrange(1, len(plan.nodes)), plan.random.choice(keys))


@_fault
def authority_key_identifier(plan: Plan) -> None:
    node = plan.anyone()
    issuer = x509.DirectoryName(
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Somebody")])
    )
    node.draft = with_extension(
        node.draft,
        _AKI,
        plan.random.choice(
            [
                b"",
                raw_extension(_AKI, sequence(element(0x80, b"another key"))),
                raw_extension(_AKI, sequence(element(0x80, b"another key")), critical=True),
                extension(x509.AuthorityKeyIdentifier(None, [issuer], 77)),
                raw_extension(_AKI, sequence()),
            ]
        ),
    )


@_fault
def issuer_missing(plan: Plan) -> None:
    if len(plan.nodes) > 1:
        plan.left_out.add(plan.random.randrange(1, len(plan.nodes)))


@_fault
def shuffled(plan: Plan) -> None:
    plan.shuffled = True


@_fault
def self_issued_between(plan: Plan) -> None:
    """Key rollover: the lowest intermediate's new key, certified with its old one."""
    if len(plan.nodes) > 1:
        low = plan.nodes[1]
        new = ec_key("new key")
        draft = low.draft.but(spki=spki_of(new), issuer=low.draft.subject)
        draft = with_extension(draft, _SKI, ski(spki_of(new)))
        draft = with_extension(draft, _AKI, aki(low.draft.spki))
        plan.leaf.signer = new
        plan.leaf.draft = with_extension(plan.leaf.draft, _AKI, aki(draft.spki))
        plan.nodes.insert(1, Node(draft, new, low.key))


@_fault
def names_written_differently(plan: Plan) -> None:
    """The issuer of one is the subject of the next in another string type, case or spacing."""
    at = plan.random.randrange(len(plan.nodes))
    issuer = plan.nodes[at + 1].draft.subject if at + 1 < len(plan.nodes) else plan.root.name
    text = issuer[issuer.rindex(b"\x06\x03\x55\x04\x03") + 7 :]
    written = plan.random.choice(
        [
            element(0x13, text),
            element(0x0C, text.upper()),
            element(0x0C, b" " + text.replace(b" ", b"  ") + b" "),
            element(0x1E, text.decode().encode("utf-16-be")),
        ]
    )
    plan.nodes[at].draft = plan.nodes[at].draft.but(issuer=name(("2.5.4.3", written)))


# From here on, copies of what was made are sent as well: nothing may change after that.


@_fault
def root_sent(plan: Plan) -> None:
    plan.sent_along.append(plan.root.certificate)


@_fault
def sent_twice(plan: Plan) -> None:
    plan.sent_along.append(plan.anyone().der())


@_fault
def unrelated_sent(plan: Plan) -> None:
    key = ec_key("unrelated")
    spki = spki_of(key)
    plan.sent_along.append(
        Draft(name("Unrelated"), name("Unrelated"), spki, (basic(True),)).signed(key)
    )


@_fault
def expired_twin_sent(plan: Plan) -> None:
    """The same intermediate of an earlier time: name and key agree, and only one is in force."""
    if node := plan.intermediate():
        plan.sent_along.insert(0, replace(node, draft=node.draft.but(end=_JUST_NOW)).der())


@_fault
def namesake_sent(plan: Plan) -> None:
    """An intermediate of the same name with another key."""
    if node := plan.intermediate():
        key = ec_key("namesake")
        other = node.draft.but(spki=spki_of(key))
        plan.sent_along.insert(0, replace(node, draft=other).der())


@_fault
def cross_signed(plan: Plan) -> None:
    """The uppermost intermediate certified by an authority that nobody knows as well."""
    if len(plan.nodes) > 1:
        node = plan.nodes[-1]
        signer = ec_key("Older Root")
        draft = without(node.draft.but(issuer=name("Older Root")), _AKI)
        plan.sent_along.insert(0, Node(draft, node.key, signer).der())


@_fault
def loop_sent(plan: Plan) -> None:
    """The uppermost intermediate certified by the lowest."""
    if len(plan.nodes) > 2:
        top, low = plan.nodes[-1], plan.nodes[1]
        draft = without(top.draft.but(issuer=low.draft.subject), _AKI)
        plan.sent_along.insert(0, Node(draft, top.key, low.key).der())


def give_key(plan: Plan, at: int, key: Signer) -> None:
    node = plan.nodes[at]
    node.key = key
    node.draft = without(node.draft.but(spki=spki_of(key)), _SKI)
    if at:
        plan.nodes[at - 1].signer = key
        plan.nodes[at - 1].draft = without(plan.nodes[at - 1].draft, _AKI)
