"""Chains: whole, in disorder, with parts missing, broken in every way that a chain can break."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from ipaddress import ip_network

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .authority import (
    CLIENT,
    END,
    WWW,
    Authority,
    aki,
    basic,
    draft_authority,
    draft_leaf,
    extension,
    intermediate,
    leaf,
    name,
    private_intermediate,
    private_root,
    purposes,
    raw_extension,
    root,
    san,
    self_signed,
    ski,
    subordinate,
    usage,
)
from .case import Case, Expected, error, info, key_pem, pem, pems, sent, warning
from .der import NULL, element, oid, sequence
from .keys import Signer, ec_key, ed448_key, ed25519_key, explicit_spki, rsa_key, spki_of


@cache
def upper() -> Authority:
    return subordinate("Upper Intermediate", root())


@cache
def lower() -> Authority:
    return subordinate("Lower Intermediate", upper())


def cases() -> Iterator[Case]:
    yield from _whole()
    yield from _incomplete()
    yield from _beside()
    yield from _not_public()
    yield from _broken()
    yield from _links()
    yield from _accepted()
    yield from _pairs()
    yield from _leaves()


def _whole() -> Iterator[Case]:
    deep = leaf(by=lower())
    low, up = lower().certificate, upper().certificate
    yield Case(
        "chain-in-chain",
        "The intermediate in chain.",
        sent(pem(leaf()), chain=pem(intermediate().certificate)),
    )
    yield Case(
        "chain-in-both",
        "Two intermediates: the lower in body, the upper in chain.",
        sent(pems(deep, low), chain=pem(up)),
        served=3,
    )
    yield Case(
        "chain-of-three", "Two intermediates, in order.", sent(pems(deep, low, up)), served=3
    )
    yield Case(
        "chain-reversed",
        "Two intermediates and the leaf, the root's child first.",
        sent(pems(up, low, deep)),
        findings=(info("chain_unordered"),),
        served=3,
    )
    yield Case(
        "chain-shuffled",
        "The leaf first, then the upper intermediate, then the lower.",
        sent(pems(deep, up, low)),
        findings=(info("chain_unordered"),),
        served=3,
    )
    yield Case(
        "chain-shuffled-across-fields",
        "The upper one in body, the lower one in chain.",
        sent(pems(deep, up), chain=pem(low)),
        findings=(info("chain_unordered", "chain"),),
        served=3,
    )
    yield Case(
        "chain-leaf-second",
        "The intermediate before the leaf.",
        sent(pems(intermediate().certificate, leaf())),
        findings=(info("chain_unordered"),),
    )
    yield Case(
        "chain-root-included",
        "The root is sent, too.",
        sent(pems(leaf(), intermediate().certificate, root().certificate)),
        findings=(info("root_dropped"),),
    )
    yield Case(
        "chain-root-first",
        "The root, the intermediate, the leaf.",
        sent(pems(root().certificate, intermediate().certificate, leaf())),
        findings=(info("chain_unordered"), info("root_dropped")),
    )
    direct = leaf(by=root())
    yield Case("chain-of-one", "A leaf that the root itself signed.", sent(pem(direct)), served=1)
    yield Case(
        "chain-of-one-and-root",
        "A leaf that the root itself signed, and the root.",
        sent(pems(direct, root().certificate)),
        findings=(info("root_dropped"),),
        served=1,
    )
    authority = root()
    nine = []
    for number in range(9):
        authority = subordinate(f"Deep {number}", authority)
        nine.append(authority.certificate)
    yield Case(
        "chain-of-ten",
        "Nine intermediates: three more than Firefox follows.",
        sent(pems(leaf(by=authority), *reversed(nine))),
        findings=(error("chain_too_long"),),
        served=10,
    )
    p384 = subordinate("P-384 Intermediate", root(), ec_key("p384", ec.SECP384R1()))
    by_rsa = subordinate("RSA Intermediate", root(), rsa_key("2048"))
    yield Case(
        "chain-p384",
        "An intermediate with a P-384 key.",
        sent(pems(leaf(by=p384), p384.certificate)),
    )
    yield Case(
        "chain-rsa",
        "An intermediate with an RSA key.",
        sent(pems(leaf(by=by_rsa), by_rsa.certificate)),
    )


def _incomplete() -> Iterator[Case]:
    deep = leaf(by=lower())
    low, up = lower().certificate, upper().certificate
    missing = (error("chain_incomplete"),)
    yield Case(
        "chain-missing",
        "The leaf alone.",
        sent(pem(leaf())),
        findings=missing,
        trust="incomplete",
        served=1,
    )
    yield Case(
        "chain-missing-upper",
        "The upper of two intermediates is missing.",
        sent(pems(deep, low)),
        findings=missing,
        trust="incomplete",
    )
    yield Case(
        "chain-missing-lower",
        "The lower of two intermediates is missing.",
        sent(pems(deep, up)),
        findings=(*missing, warning("unrelated_certificate")),
        trust="incomplete",
        served=1,
    )
    yield Case(
        "chain-missing-but-root",
        "Leaf and root, the intermediate is missing.",
        sent(pems(leaf(), root().certificate)),
        findings=(*missing, warning("unrelated_certificate")),
        trust="incomplete",
        served=1,
    )
    yield Case(
        "chain-missing-private-root",
        "A private authority's leaf and intermediate.",
        sent(pems(leaf(by=private_intermediate()), private_intermediate().certificate)),
        findings=missing,
        trust="incomplete",
    )
    yield Case(
        "chain-completed",
        "The leaf alone; its intermediate is known.",
        sent(pem(leaf())),
        known=(intermediate().certificate,),
        findings=(info("chain_completed"),),
    )
    yield Case(
        "chain-completed-twice",
        "The leaf alone; both intermediates are known.",
        sent(pem(deep)),
        known=(up, low),
        findings=(info("chain_completed"),),
        served=3,
    )
    yield Case(
        "chain-completed-above",
        "The lower one is sent, the upper one known.",
        sent(pems(deep, low)),
        known=(up,),
        findings=(info("chain_completed"),),
        served=3,
    )
    yield Case(
        "chain-completed-below",
        "The upper one is sent, the lower one known.",
        sent(pems(deep, up)),
        known=(low,),
        findings=(info("chain_completed"),),
        served=3,
    )
    yield Case(
        "chain-known-is-sent",
        "What is known was sent as well.",
        sent(pems(leaf(), intermediate().certificate)),
        known=(intermediate().certificate,),
    )
    yield Case(
        "chain-known-is-another",
        "What is known has nothing to do with it.",
        sent(pem(leaf())),
        known=(low, up),
        findings=missing,
        trust="incomplete",
        served=1,
    )
    yield Case(
        "chain-known-is-garbage",
        "What is known cannot be read.",
        sent(pem(leaf())),
        known=(b"\x30\x03\x02\x01", b"", intermediate().certificate[:-9]),
        findings=missing,
        trust="incomplete",
        served=1,
    )
    old = (
        draft_authority("Corpus Intermediate", intermediate().key, root())
        .but(end=datetime(2026, 6, 1, tzinfo=UTC))
        .signed(root().key)
    )
    yield Case(
        "chain-expired-sent-valid-known",
        "The expired form of the intermediate is sent. No issuer is missing, so none is looked up.",
        sent(pems(leaf(), old)),
        known=(intermediate().certificate,),
        findings=(error("expired"),),
    )
    yield Case(
        "chain-expired-and-valid-sent",
        "Two forms of the intermediate, the first expired.",
        sent(pems(leaf(), old, intermediate().certificate)),
        findings=(info("chain_alternative"),),
    )


def _beside() -> Iterator[Case]:
    usual = pems(leaf(), intermediate().certificate)
    foreign = private_intermediate().certificate
    yield Case(
        "chain-double-intermediate",
        "The intermediate in body and in chain.",
        sent(usual, chain=pem(intermediate().certificate)),
        findings=(info("duplicate", "chain"),),
    )
    yield Case(
        "chain-double-leaf",
        "The leaf in body and in chain.",
        sent(usual, chain=usual),
        findings=(info("duplicate", "chain"),) * 2,
    )
    yield Case(
        "chain-thrice",
        "The leaf three times.",
        sent(usual + pem(leaf()) * 2),
        findings=(info("duplicate"),) * 2,
    )
    yield Case(
        "chain-unrelated",
        "An intermediate of another authority.",
        sent(usual, chain=pem(foreign)),
        findings=(warning("unrelated_certificate", "chain"),),
    )
    yield Case(
        "chain-unrelated-before",
        "An intermediate of another authority comes first.",
        sent(pem(foreign) + usual),
        findings=(warning("unrelated_certificate"),),
    )
    yield Case(
        "chain-unrelated-leaf",
        "Somebody else's leaf lies beside.",
        sent(usual + pem(leaf("mail.example.com"))),
        findings=(warning("unrelated_certificate"),),
    )
    newer = self_signed("Newer Root", ec_key("Newer Root"))
    crossed = draft_authority("Newer Root", newer.key, root()).signed(root().key)
    beneath = subordinate("Newer Intermediate", newer)
    yield Case(
        "chain-cross-signed",
        "The root of the chain is new; an older one signed it, too.",
        sent(pems(leaf(by=beneath), beneath.certificate, crossed)),
        served=3,
    )
    yield Case(
        "chain-cross-signed-and-root",
        "As before, and the new root's own certificate.",
        sent(pems(leaf(by=beneath), beneath.certificate, crossed, newer.certificate)),
        findings=(info("root_dropped"),),
        served=3,
    )
    other = private_root()
    twice = draft_authority("Corpus Intermediate", intermediate().key, other).signed(other.key)
    yield Case(
        "chain-two-ways",
        "The intermediate, issued by a public and by a private root.",
        sent(pems(leaf(), twice, intermediate().certificate)),
        findings=(info("chain_alternative"),),
    )
    yield Case(
        "chain-two-ways-and-root",
        "As before, and the private root.",
        sent(pems(leaf(), intermediate().certificate, twice, other.certificate)),
        findings=(info("chain_alternative"),) * 2,
    )
    namesakes = [
        draft_authority("Corpus Intermediate", ec_key(f"namesake {number}"), root()).signed(
            root().key
        )
        for number in range(30)
    ]
    yield Case(
        "chain-namesakes",
        "Thirty more intermediates of the same name, other keys.",
        sent(pems(leaf(), *namesakes, intermediate().certificate)),
        findings=(warning("unrelated_certificate"),) * 30,
    )


def _not_public() -> Iterator[Case]:
    middle, top = private_intermediate().certificate, private_root().certificate
    usual = pems(leaf(by=private_intermediate()), middle, top)
    untrusted = (warning("untrusted"),)
    dropped = (info("root_dropped"), *untrusted)
    yield Case(
        "chain-private",
        "A private authority, whole.",
        sent(usual),
        findings=dropped,
        trust="private",
    )
    yield Case(
        "chain-private-root-in-chain",
        "A private authority, all but the leaf in chain.",
        sent(pem(leaf(by=private_intermediate())), chain=pems(middle, top)),
        findings=(info("root_dropped", "chain"), *untrusted),
        trust="private",
    )
    yield Case(
        "chain-private-direct",
        "A private root's own leaf.",
        sent(pems(leaf(by=private_root()), top)),
        findings=dropped,
        trust="private",
        served=1,
    )
    mine = Authority(WWW, ec_key(WWW))
    yield Case(
        "chain-self-signed",
        "Self-signed, no authority.",
        sent(pem(leaf(by=mine))),
        findings=untrusted,
        trust="self_signed",
        served=1,
    )
    yield Case(
        "chain-self-signed-and-others",
        "Self-signed, with an intermediate beside it.",
        sent(pems(leaf(by=mine), intermediate().certificate)),
        findings=(*untrusted, warning("unrelated_certificate")),
        trust="self_signed",
        served=1,
    )
    forged = draft_leaf(by=mine).signed(ec_key("somebody else"))
    yield Case(
        "chain-self-issued",
        "It names itself as its issuer, but another key signed it.",
        sent(pem(forged)),
        findings=(error("chain_broken"),),
        trust="incomplete",
        served=1,
    )
    gone = (
        draft_authority(
            "Gone Root", ec_key("Gone Root"), Authority("Gone Root", ec_key("Gone Root"))
        )
        .but(end=datetime(2026, 1, 1, tzinfo=UTC))
        .signed(ec_key("Gone Root"))
    )
    yield Case(
        "chain-private-root-expired",
        "The private root expired in January.",
        sent(pems(leaf(by=Authority("Gone Root", ec_key("Gone Root"))), gone)),
        findings=(error("chain_broken"),),
        trust="incomplete",
        served=1,
    )


def _broken() -> Iterator[Case]:
    broken = (error("chain_broken"),)
    impostor = draft_authority("Corpus Intermediate", ec_key("impostor"), root()).signed(root().key)
    yield Case(
        "chain-other-key",
        "An intermediate of the right name, with another key.",
        sent(pems(leaf(), impostor)),
        findings=broken,
        trust="incomplete",
        served=1,
    )
    spoilt = leaf()[:-1] + bytes([leaf()[-1] ^ 1])
    yield Case(
        "chain-leaf-signature",
        "The last bit of the leaf's signature is wrong.",
        sent(pems(spoilt, intermediate().certificate)),
        findings=broken,
        trust="incomplete",
        served=1,
    )
    middle = intermediate().certificate
    yield Case(
        "chain-intermediate-signature",
        "The last bit of the intermediate's is wrong.",
        sent(pems(leaf(), middle[:-1] + bytes([middle[-1] ^ 1]))),
        findings=broken,
        trust="incomplete",
        served=2,
    )
    yield Case(
        "chain-root-impostor",
        "The intermediate was signed by a root of the right name.",
        sent(
            pems(
                leaf(),
                draft_authority("Corpus Intermediate", intermediate().key, root()).signed(
                    ec_key("impostor")
                ),
            )
        ),
        findings=broken,
        trust="incomplete",
        served=2,
    )
    old = draft_authority("Corpus Intermediate", intermediate().key, root())
    ended, coming = datetime(2026, 6, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    yield Case(
        "chain-intermediate-expired",
        "The intermediate expired in June.",
        sent(pems(leaf(), old.but(end=ended).signed(root().key))),
        findings=(error("expired"),),
    )
    yield Case(
        "chain-intermediate-not-yet",
        "The intermediate is valid from January on.",
        sent(pems(leaf(), old.but(start=coming).signed(root().key))),
        findings=(error("not_yet_valid"),),
    )
    by_sha1 = old.but(signature="ecdsa-sha1").signed(root().key)
    yield Case(
        "chain-intermediate-sha1",
        "The intermediate is signed with SHA-1.",
        sent(pems(leaf(), by_sha1)),
        findings=(error("signature_weak"),),
    )
    small = subordinate("Small Intermediate", root(), rsa_key("1024"))
    yield Case(
        "chain-intermediate-rsa-1024",
        "The intermediate has an RSA key of 1024 bits.",
        sent(pems(leaf(by=small), small.certificate)),
        findings=(error("key_weak"), error("not_servable")),
    )
    weak, weak_for_some = (error("key_weak"),), (warning("key_weak"),)
    odd_keys: dict[str, tuple[Signer, tuple[Expected, ...]]] = {
        "ed25519": (ed25519_key("Odd Intermediate"), weak_for_some),
        "ed448": (ed448_key("Odd Intermediate"), weak_for_some),
        "p224": (ec_key("Odd Intermediate", ec.SECP224R1()), weak),
        "p521": (ec_key("Odd Intermediate", ec.SECP521R1()), ()),
    }
    for kind, (key, findings) in odd_keys.items():
        odd = subordinate("Odd Intermediate", root(), key)
        yield Case(
            f"chain-intermediate-{kind}",
            f"The intermediate has a key of the kind {kind}.",
            sent(pems(leaf(by=odd), odd.certificate)),
            findings=findings,
        )
    explicit = explicit_spki(ec_key(WWW))
    yield Case(
        "chain-explicit-curve",
        "The leaf has P-256 written out in place of its name.",
        sent(pems(leaf(spki=explicit), intermediate().certificate)),
        findings=(*broken, error("not_servable")),
        trust="incomplete",
        served=1,
    )
    own = Authority(WWW, ec_key(WWW))
    made = draft_leaf(spki=explicit, by=own).but(extensions=(basic(True), san(WWW)))
    yield Case(
        "chain-explicit-curve-self-signed",
        "The same, self-signed, as `openssl req -x509` makes it.",
        sent(pem(made.signed(own.key))),
        findings=(warning("untrusted"), error("not_servable"), warning("is_ca")),
        trust="self_signed",
        served=1,
    )
    private = self_signed("Odd Root", ed25519_key("Odd Root"))
    yield Case(
        "chain-private-root-ed25519",
        "A private root has an Ed25519 key.",
        sent(pems(leaf(by=private), private.certificate)),
        findings=(warning("untrusted"), info("root_dropped"), warning("key_weak")),
        trust="private",
        served=1,
    )
    eleven, authority = [], root()
    for number in range(11):
        authority = subordinate(f"Deeper {number}", authority)
        eleven.append(authority.certificate)
    yield Case(
        "chain-too-long",
        "Eleven intermediates: more than any client follows.",
        sent(pems(leaf(by=authority), *reversed(eleven))),
        findings=(*broken, error("chain_too_long")),
        trust="incomplete",
        served=11,
    )
    yield from _refused()


def _refused() -> Iterator[Case]:
    """Signatures hold, and still no client goes that way."""
    key = ec_key("Faulty Intermediate")
    spki = spki_of(key)
    whole = draft_authority("Faulty Intermediate", key, root())
    faulty = Authority("Faulty Intermediate", key)
    identifiers = (ski(spki), aki(root().spki))
    faults = {
        "no-ca-flag": (
            "It has basicConstraints CA:FALSE.",
            (basic(False), usage("digital_signature"), *identifiers),
        ),
        "no-constraints": ("It has no basicConstraints.", (usage("key_cert_sign"), *identifiers)),
        "no-cert-sign": (
            "Its keyUsage has no keyCertSign.",
            (basic(True), usage("crl_sign"), *identifiers),
        ),
        "client-purpose": (
            "It is for clients' certificates only (extendedKeyUsage).",
            (basic(True), usage("key_cert_sign"), *identifiers, purposes(CLIENT)),
        ),
        "names-constrained": (
            "It may issue for example.net only (nameConstraints).",
            (
                basic(True),
                usage("key_cert_sign"),
                *identifiers,
                extension(x509.NameConstraints([x509.DNSName("example.net")], None), True),
            ),
        ),
        "names-excluded": (
            "It may not issue for example.com (nameConstraints).",
            (
                basic(True),
                usage("key_cert_sign"),
                *identifiers,
                extension(x509.NameConstraints(None, [x509.DNSName("example.com")]), True),
            ),
        ),
    }
    for fault, (made, extensions) in faults.items():
        yield Case(
            f"chain-intermediate-{fault}",
            f"The intermediate is faulty: {made}",
            sent(pems(leaf(by=faulty), whole.but(extensions=extensions).signed(root().key))),
            findings=(error("chain_broken"),),
            trust="incomplete",
            served=2 if fault.startswith("names") else 1,
        )
    permitted = whole.but(
        extensions=(
            basic(True),
            usage("key_cert_sign"),
            *identifiers,
            extension(x509.NameConstraints([x509.DNSName("example.com")], None), True),
        )
    ).signed(root().key)
    yield Case(
        "chain-names-permitted",
        "The intermediate may issue for example.com, and did.",
        sent(pems(leaf(by=faulty), permitted)),
    )
    narrow = Authority(
        "Narrow",
        ec_key("Narrow"),
        draft_authority("Narrow", ec_key("Narrow"), root(), path_length=0).signed(root().key),
    )
    below = subordinate("Below Narrow", narrow)
    yield Case(
        "chain-path-length",
        "An authority beneath one that allows none.",
        sent(pems(leaf(by=below), below.certificate, narrow.certificate)),
        findings=(error("chain_broken"),),
        trust="incomplete",
    )
    yield Case(
        "chain-path-length-kept",
        "The leaf of an authority that allows none beneath it.",
        sent(pems(leaf(by=narrow), narrow.certificate)),
    )
    local = self_signed("Local Root", ec_key("Local Root"))
    bound = draft_authority(
        "Local Root",
        local.key,
        local,
        more=(extension(x509.NameConstraints([x509.DNSName("internal.example")], None), True),),
    ).signed(local.key)
    yield Case(
        "chain-private-names-constrained",
        "A private root for internal.example only.",
        sent(pems(leaf(by=local), bound)),
        findings=(error("chain_broken"),),
        trust="incomplete",
        served=1,
    )


def _links() -> Iterator[Case]:
    """Identifiers and circles."""
    strange = (
        draft_leaf()
        .but(
            extensions=(
                basic(False),
                usage("digital_signature"),
                purposes("1.3.6.1.5.5.7.3.1"),
                aki(b"nobody"),
                san(WWW),
            )
        )
        .signed(intermediate().key)
    )
    yield Case(
        "chain-identifiers-differ",
        "The authority's key identifier is not the leaf's"
        " authorityKeyIdentifier; the signature holds.",
        sent(pems(strange, intermediate().certificate)),
        findings=(warning("aki_mismatch"),),
        trust="incomplete",
    )
    # [1] authorityCertIssuer and [2] authorityCertSerialNumber of RFC 5280, 4.2.1.1.
    nobody = element(0xA1, element(0xA4, name("Nobody"))), element(0x82, b"\x05")
    wrong = raw_extension("2.5.29.35", sequence(*nobody))
    issued = draft_leaf()
    strange = issued.but(
        extensions=(*(one for one in issued.extensions if one != aki(intermediate().spki)), wrong)
    ).signed(intermediate().key)
    yield Case(
        "chain-issuer-and-serial-differ",
        "The leaf's authorityKeyIdentifier has another issuer and serial number; the signature"
        " holds.",
        sent(pems(strange, intermediate().certificate)),
        findings=(warning("aki_mismatch"),),
        trust="incomplete",
    )
    unfit = _issuing(title="Unfit")
    above = draft_authority("Unfit", unfit.key, root())
    above = above.but(
        extensions=(*(one for one in above.extensions if one != aki(root().spki)), wrong)
    )
    yield Case(
        "chain-issuer-and-serial-differ-above",
        "The same of the intermediate, beneath a public root.",
        sent(pems(leaf(by=unfit), above.signed(root().key))),
        findings=(warning("aki_mismatch"),),
        trust="incomplete",
    )
    bare = (
        draft_leaf()
        .but(
            extensions=(
                basic(False),
                usage("digital_signature"),
                purposes("1.3.6.1.5.5.7.3.1"),
                san(WWW),
            )
        )
        .signed(intermediate().key)
    )
    yield Case(
        "chain-no-identifiers",
        "The leaf has no key identifiers.",
        sent(pems(bare, intermediate().certificate)),
    )
    a, b = Authority("Circle A", ec_key("Circle A")), Authority("Circle B", ec_key("Circle B"))
    a_by_b = draft_authority("Circle A", a.key, b).signed(b.key)
    b_by_a = draft_authority("Circle B", b.key, a).signed(a.key)
    yield Case(
        "chain-circle",
        "Two authorities that issued each other.",
        sent(pems(leaf(by=a), a_by_b, b_by_a)),
        findings=(error("chain_incomplete"),),
        trust="incomplete",
        served=3,
    )
    nameless = Authority("", ec_key("nameless"))
    certificate = (
        draft_authority("", nameless.key, root())
        .but(subject=name(), issuer=root().name)
        .signed(root().key)
    )
    anonymous = draft_leaf(by=nameless).but(issuer=name()).signed(nameless.key)
    yield Case(
        "chain-nameless-issuer",
        "The intermediate has an empty subject, which RFC 5280, 4.1.2.4, forbids.",
        sent(pems(anonymous, certificate)),
    )


def _issuing(*more: bytes, title: str = "Issuing", **changes: object) -> Authority:
    """An intermediate with other extensions besides, or another part changed."""
    key = ec_key(title)
    draft = draft_authority(title, key, root(), more=more).but(**changes)
    return Authority(title, key, draft.signed(root().key))


def _names(
    permitted: Sequence[x509.GeneralName] = (),
    excluded: Sequence[x509.GeneralName] = (),
    critical: bool = True,
) -> bytes:
    return extension(x509.NameConstraints(permitted or None, excluded or None), critical)


def _directory(country: str) -> x509.DirectoryName:
    return x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, country)]))


def _accepted() -> Iterator[Case]:
    """A chain that every client accepts and simple verifiers reject."""
    here, nowhere = [x509.DNSName("example.com")], x509.IPAddress(ip_network("0.0.0.0/0"))
    policy = sequence(oid("1.2.3.4"))
    extensions = {
        "names-as-required": _names([*here, _directory("DE")], [nowhere]),
        "names-with-a-dot": _names([x509.DNSName(".example.com")]),
        "names-not-critical": _names(here, critical=False),
        "policy-constraints": extension(x509.PolicyConstraints(0, None), True),
        "inhibit-any-policy": extension(x509.InhibitAnyPolicy(0), True),
        "policies-critical": raw_extension("2.5.29.32", sequence(policy), True),
    }
    country = ("2.5.4.6", element(0x13, b"DE"))
    for title, made in extensions.items():
        by = _issuing(made)
        subject = name(country, WWW) if title == "names-as-required" else name(WWW)
        certificate = draft_leaf(by=by).but(subject=subject).signed(by.key)
        yield Case(
            f"chain-{title}",
            f"The intermediate has an extension that verifiers must process: {title}.",
            sent(pems(certificate, by.certificate)),
            # It requires a policy, and the leaf has none.
            findings=(error("policy_missing"),) if title == "policy-constraints" else (),
        )
    names: dict[str, str | tuple[str, bytes]] = {
        "printable": ("2.5.4.3", element(0x13, b"Issuing")),
        "bmp": ("2.5.4.3", element(0x1E, "Issuing".encode("utf-16-be"))),
        "upper-case": "ISSUING",
        "blanks": "  Issuing ",
    }
    for title, written in names.items():
        by = _issuing(title="Issuing")
        certificate = draft_leaf(by=by).but(issuer=name(written)).signed(by.key)
        yield Case(
            f"chain-issuer-{title}",
            f"The leaf writes its issuer in another way ({title}; RFC 5280, 7.1).",
            sent(pems(certificate, by.certificate)),
            findings=(warning("issuer_name_differs"),),
        )
        yield Case(
            f"chain-issuer-{title}-completed",
            f"As chain-issuer-{title}; the intermediate is known.",
            sent(pem(certificate)),
            known=(by.certificate,),
            findings=(info("chain_completed"), warning("issuer_name_differs")),
        )
    old = Authority("Rollover", ec_key("Rollover"))
    narrow = draft_authority("Rollover", old.key, root(), path_length=0).signed(root().key)
    new = Authority("Rollover", ec_key("Rollover, new"))
    draft = draft_authority("Rollover", new.key, old, more=[aki(old.spki)])
    link = draft.signed(old.key)
    for order in ((link, narrow), (narrow, link)):
        is_shuffled = order[0] == narrow
        yield Case(
            f"chain-self-issued-rollover{'-shuffled' * is_shuffled}",
            "A CA issued its new key with its old one, beneath path length 0 (RFC 5280, 4.2.1.9).",
            sent(pems(leaf(by=new), *order)),
            findings=(info("chain_unordered"),) * is_shuffled,
            served=3,
        )


def _pairs() -> Iterator[Case]:
    """Two faults: neither may hide the other."""
    unknown = raw_extension("1.3.6.1.4.1.99999.3", NULL, True)
    elsewhere = _names([x509.DNSName("example.net")])
    coming, ended = datetime(2027, 1, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)
    small = rsa_key("1024")
    weak = draft_authority("Issuing", small, root(), more=[elsewhere]).signed(root().key)
    broken, critical = error("chain_broken"), error("extension_critical")
    too_small = error("key_weak"), error("not_servable")
    pairs = {
        "early-and-names": (_issuing(elsewhere, start=coming), (error("not_yet_valid"), broken)),
        "expired-and-names": (_issuing(elsewhere, end=ended), (error("expired"), broken)),
        "early-and-critical": (_issuing(unknown, start=coming), (error("not_yet_valid"), critical)),
        "critical-and-names": (_issuing(unknown, elsewhere), (critical, broken)),
        "small-key-and-names": (Authority("Issuing", small, weak), (*too_small, broken)),
        "client-purpose-and-names": (_issuing(elsewhere, purposes(CLIENT)), (broken, broken)),
    }
    for title, (by, findings) in pairs.items():
        yield Case(
            f"chain-{title}",
            f"Two faults of the intermediate: {title}.",
            sent(pems(leaf(by=by), by.certificate)),
            findings=findings,
            trust="incomplete",
            served=1 if title.startswith("client") else 2,
        )
    germans = _issuing(_names([_directory("DE")], critical=False))
    yield Case(
        "chain-directory-names-violated",
        "The intermediate issues for C=DE only; its constraint is not critical.",
        sent(pems(leaf(by=germans), germans.certificate)),
        findings=(broken,),
        trust="incomplete",
    )
    both = leaf(by=private_root(), more=[unknown])
    yield Case(
        "chain-private-critical-unknown",
        "A private root's leaf with a critical extension that nobody knows.",
        sent(pems(both, private_root().certificate)),
        findings=(critical, info("root_dropped")),
        trust="incomplete",
        served=1,
    )
    mine = Authority(WWW, ec_key(WWW))
    yield Case(
        "chain-self-signed-critical-unknown",
        "Self-signed, with a critical extension that nobody knows.",
        sent(pem(leaf(by=mine, more=[unknown]))),
        findings=(critical, warning("untrusted")),
        trust="self_signed",
        served=1,
    )
    short = _issuing(end=datetime(2027, 1, 1, tzinfo=UTC))
    yield Case(
        "chain-intermediate-ends-before-the-leaf",
        "The intermediate is valid for a month more, the leaf for two.",
        sent(pems(leaf(by=short), short.certificate)),
        findings=(warning("chain_expires_first"),),
    )


def _leaves() -> Iterator[Case]:
    usual = pems(leaf(), intermediate().certificate)
    mail = leaf("mail.example.com")
    second = draft_leaf().but(serial=7, end=END.replace(day=20)).signed(intermediate().key)
    stray = key_pem("nobody's")
    yield Case(
        "leaf-none",
        "Root and intermediate, and a key that belongs to neither.",
        sent(pems(intermediate().certificate, root().certificate)),
        findings=(error("no_leaf"),),
        trust="unreadable",
        hostnames=(),
        served=0,
    )
    yield Case(
        "leaf-none-lone-intermediate",
        "The intermediate alone, with the leaf's key.",
        sent(pem(intermediate().certificate)),
        findings=(
            error("key_mismatch", "private_key"),
            error("san_missing"),
            error("is_ca"),
            warning("eku_missing"),
        ),
        hostnames=(),
        served=1,
    )
    yield Case(
        "leaf-two-with-the-key",
        "An old and a renewed certificate for one key.",
        sent(usual + pem(second)),
        findings=(error("multiple_leaves"), warning("unrelated_certificate")),
    )
    yield Case(
        "leaf-two-without-the-key",
        "Two certificates, and a key of neither.",
        sent(usual + pem(mail), stray),
        findings=(
            error("multiple_leaves"),
            error("key_mismatch", "private_key"),
            warning("unrelated_certificate"),
        ),
    )
    yield Case(
        "leaf-two-in-two-fields",
        "Two for one key, the second in chain.",
        sent(usual, chain=pem(second)),
        findings=(error("multiple_leaves"), warning("unrelated_certificate", "chain")),
    )
    yield Case(
        "leaf-key-mismatch",
        "The key of another certificate.",
        sent(usual, key_pem("mail.example.com")),
        findings=(error("key_mismatch", "private_key"),),
    )
    yield Case(
        "leaf-key-of-the-intermediate",
        "The key is the intermediate's.",
        sent(usual, key_pem("Corpus Intermediate")),
        findings=(
            error("is_ca"),
            error("san_missing"),
            warning("eku_missing"),
            warning("unrelated_certificate"),
        ),
        hostnames=(),
        served=1,
    )
