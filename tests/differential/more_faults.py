"""More that can be odd or wrong in a PKI: encodings, and long or circular chains."""

import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from ..corpus.authority import (
    Authority,
    draft_authority,
    name,
    purposes,
    raw_extension,
    san,
    san_of,
)
from ..corpus.der import NULL, boolean, element, integer, octets, oid, sequence
from ..corpus.keys import Signer, ec_key, ed448_key, rsa_key
from .drafts import name_constraints, with_extension, without
from .faults import Fault, Node, Plan, give_key, of_intermediate, of_leaf, one_of

_BASIC, _USAGE, _EKU, _SAN, _AKI = "2.5.29.19", "2.5.29.15", "2.5.29.37", "2.5.29.17", "2.5.29.35"
_CONSTRAINTS, _POLICIES, _POLICY_CONSTRAINTS = "2.5.29.30", "2.5.29.32", "2.5.29.36"
_NETSCAPE_TYPE, _ADDRESSES = "2.16.840.1.113730.1.1", "1.3.6.1.5.5.7.1.7"


def _usage_of(content: bytes) -> bytes:
    return raw_extension(_USAGE, element(0x03, content), critical=True)


def _blocks(prefix: bytes) -> bytes:
    """IP address blocks (RFC 3779, 2) with one IPv4 prefix of whole octets."""
    address = element(0x03, b"\0" + prefix)
    family = sequence(octets(b"\0\x01"), sequence(address))
    return raw_extension(_ADDRESSES, sequence(family), critical=True)


def _address(text: str) -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_address(text))


def _network(text: str) -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_network(text))


def leaf_and_addresses_constrained(plan: Plan) -> None:
    """A certificate for IP addresses beneath constraints on them, kept or not."""
    if node := plan.intermediate():
        plan.leaf.draft = with_extension(
            plan.leaf.draft, _SAN, san("www.example.com", _address("192.0.2.7"))
        )
        node.draft = with_extension(
            node.draft,
            _CONSTRAINTS,
            plan.random.choice(
                [
                    name_constraints([_network("192.0.2.0/24")]),
                    name_constraints([_network("198.51.100.0/24")]),
                    name_constraints([_network("2001:db8::/32")]),
                    name_constraints(excluded=[_network("192.0.2.4/30")]),
                    name_constraints(excluded=[_network("192.0.2.8/30")], critical=False),
                ]
            ),
        )


def leaf_and_idn_constrained(plan: Plan) -> None:
    """An A-label beneath constraints of A-labels, kept or not."""
    plan.leaf.draft = with_extension(
        plan.leaf.draft, _SAN, san("www.example.com", "www.xn--bcher-kva.example")
    )
    if node := plan.intermediate():
        names = [
            [x509.DNSName("xn--bcher-kva.example"), x509.DNSName("example.com")],
            [x509.DNSName("xn--bcher-kva.example")],
            [x509.DNSName("XN--BCHER-KVA.example"), x509.DNSName("com")],
        ]
        node.draft = with_extension(
            node.draft, _CONSTRAINTS, name_constraints(plan.random.choice(names))
        )


def addresses_of_networks(plan: Plan) -> None:
    """RFC 3779: addresses that the issuers have, or not."""
    for node in plan.nodes:
        if plan.random.random() < 0.7:
            prefix = plan.random.choice([b"\xc0", b"\xc0\0", b"\x0a"])
            node.draft = with_extension(node.draft, _ADDRESSES, _blocks(prefix))


def signature_of_another_kind(plan: Plan) -> None:
    node = plan.anyone()
    kinds = {
        True: ["ecdsa-sha224", "ecdsa-sha512", "ecdsa-null-sha256"],
        False: ["rsa-sha224", "rsa-pss-sha256", "rsa-bare-sha256"],
    }[isinstance(node.signer, ec.EllipticCurvePrivateKey)]
    node.draft = node.draft.but(signature=plan.random.choice(kinds))


def intermediate_key_of_another_kind(plan: Plan) -> None:
    if len(plan.nodes) > 1:
        keys: list[Signer] = [
            ec_key("intermediate", ec.SECP224R1()),
            ec_key("intermediate", ec.SECP192R1()),
            ec_key("intermediate", ec.SECP256K1()),
            ec_key("intermediate", ec.SECP521R1()),
            ed448_key("intermediate"),
            rsa_key("1024"),
            rsa_key("8192"),
        ]
        give_key(plan, plan.random.randrange(1, len(plan.nodes)), plan.random.choice(keys))


def long_chain(plan: Plan) -> None:
    """As many intermediates more as make it 5 to 10."""
    _lengthen(plan, plan.random.randint(5, 10))


def chain_too_long(plan: Plan) -> None:
    """More intermediates than the service follows."""
    _lengthen(plan, plan.random.randint(11, 12))


def _lengthen(plan: Plan, wanted: int) -> None:
    low = plan.leaf
    for number in range(wanted + 1 - len(plan.nodes)):
        above = plan.nodes[1] if len(plan.nodes) > 1 else None
        key = ec_key(f"long {number}")
        by = Authority("", above.key) if above else plan.root
        draft = draft_authority(f"Long {number}", key, by)
        draft = draft.but(issuer=above.draft.subject if above else plan.root.name)
        plan.nodes.insert(1, Node(without(draft, _AKI), key, by.key))
        low.signer = key
        low.draft = without(low.draft.but(issuer=name(f"Long {number}")), _AKI)


def root_signed_anew(plan: Plan) -> None:
    """The root is sent with another number and signature: not the one that clients have."""
    if plan.root.title not in ("Plain Root", "RSA Root", "Own Root"):
        # A root with a fault would be sent without it, and be another one.
        return
    draft = draft_authority(plan.root.title, plan.root.key, plan.root)
    by_whom = plan.random.choice([plan.root.key, ec_key("somebody else")])
    plan.sent_along.append(draft.but(serial=4711, issuer=plan.root.name).signed(by_whom))


def circle_sent(plan: Plan) -> None:
    """Two authorities that certify each other, one of them an issuer of the chain."""
    if node := plan.intermediate():
        other = ec_key("circle")
        first = draft_authority("Circle", other, Authority("", node.key))
        back = without(node.draft.but(issuer=name("Circle")), _AKI)
        plan.sent_along.insert(
            0, without(first, _AKI).but(issuer=node.draft.subject).signed(node.key)
        )
        plan.sent_along.insert(0, back.signed(other))


MORE_FAULTS: dict[str, Fault] = {
    "leaf_key_usage_encoding": of_leaf(
        one_of(
            _USAGE,
            _usage_of(b"\0"),
            _usage_of(b"\x07\0"),
            _usage_of(b"\x07\xff"),
            _usage_of(b"\0\x80"),
            _usage_of(b"\x06\x7f"),
            _usage_of(b"\x07\x80\0\0"),
            _usage_of(b"\x08\x80"),
        )
    ),
    "intermediate_key_usage_encoding": of_intermediate(
        one_of(
            _USAGE,
            _usage_of(b"\x02\x07"),
            _usage_of(b"\x03\x07"),
            _usage_of(b"\0\x04"),
            _usage_of(b"\x02\x04\0"),
            _usage_of(b"\x07\x86\x80"),
        )
    ),
    "leaf_names_in_two_extensions": of_leaf(
        one_of(_SAN, san("www.example.com") + san("www.example.com"))
    ),
    "leaf_names_encoding": of_leaf(
        one_of(
            _SAN,
            san("www.example.com", "www.example.com", "WWW.EXAMPLE.COM"),
            san_of(element(0x82, b"www.example.com"), element(0x89, b"a")),
            san_of(element(0x82, b"www.example.com"), element(0x82, "\u00e9.example".encode())),
            san_of(element(0x82, b"www.example.com\0.example.org")),
            san_of(element(0x82, b"www.example.com"), element(0x87, b"\x01\x02\x03")),
            san_of(),
            raw_extension(_SAN, sequence(element(0x82, b"www.example.com")) + b"\0"),
        )
    ),
    "intermediate_path_length_encoding": of_intermediate(
        one_of(
            _BASIC,
            raw_extension(_BASIC, sequence(boolean(True), integer(-1)), critical=True),
            raw_extension(_BASIC, sequence(boolean(True), integer(1 << 64)), critical=True),
            raw_extension(_BASIC, sequence(boolean(True), element(2, b"\0\x01")), critical=True),
            raw_extension(_BASIC, sequence(boolean(True), element(2)), critical=True),
            raw_extension(_BASIC, sequence(element(1, b"\x01")), critical=True),
            raw_extension(_BASIC, sequence(boolean(True), NULL), critical=True),
        )
    ),
    "netscape_type": of_leaf(
        one_of(
            _NETSCAPE_TYPE,
            raw_extension(_NETSCAPE_TYPE, b"\x03\x02\x07\x80"),
            raw_extension(_NETSCAPE_TYPE, b"\x03\x02\x06\x40"),
            raw_extension(_NETSCAPE_TYPE, b"\x03\x02\x06\xc0", critical=True),
            raw_extension(_NETSCAPE_TYPE, b"\x30\0"),
            raw_extension(_NETSCAPE_TYPE, b"\x03\x01\0"),
        )
    ),
    "intermediate_netscape_type": of_intermediate(
        one_of(
            _NETSCAPE_TYPE,
            raw_extension(_NETSCAPE_TYPE, b"\x03\x02\x07\x80"),
            raw_extension(_NETSCAPE_TYPE, b"\x03\x02\x01\x06"),
        )
    ),
    "intermediate_netscape_purpose": of_intermediate(
        one_of(_EKU, purposes("2.16.840.1.113730.4.1"), purposes("1.3.6.1.4.1.311.10.3.3"))
    ),
    "leaf_version_and_extensions": of_leaf(
        lambda draft, random: draft.but(version=random.choice([0, 1]))
    ),
    "intermediate_version_and_extensions": of_intermediate(
        lambda draft, random: draft.but(version=random.choice([0, 1]))
    ),
    "policy_required": of_intermediate(
        one_of(
            _POLICY_CONSTRAINTS,
            raw_extension(_POLICY_CONSTRAINTS, sequence(element(0x80, b"\0")), critical=True),
            raw_extension(_POLICY_CONSTRAINTS, sequence(element(0x80, b"\x05")), critical=True),
        )
    ),
    "leaf_for_ocsp": of_leaf(one_of(_EKU, purposes("1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.9"))),
    "leaf_policy_twice": of_leaf(
        one_of(_POLICIES, raw_extension(_POLICIES, sequence(*[sequence(oid("1.2.3"))] * 2)))
    ),
    "addresses_of_networks": addresses_of_networks,
    "leaf_and_addresses_constrained": leaf_and_addresses_constrained,
    "leaf_and_idn_constrained": leaf_and_idn_constrained,
    "signature_of_another_kind": signature_of_another_kind,
    "intermediate_key_of_another_kind": intermediate_key_of_another_kind,
    "long_chain": long_chain,
    "chain_too_long": chain_too_long,
}
LAST_FAULTS: dict[str, Fault] = {"root_signed_anew": root_signed_anew, "circle_sent": circle_sent}
