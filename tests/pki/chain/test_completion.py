from base64 import b64decode
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from customer_certificates.errors import Finding
from customer_certificates.pki.chain.completion import Chain, Roots, build
from customer_certificates.pki.chain.verification import Anchors, name_hash
from customer_certificates.pki.x509.certificate import Certificate, read

from ...corpus import authority as corpus
from ...corpus.case import pem
from ...corpus.der import bits, oid, sequence
from ..authority import (
    NOW,
    a_leaf,
    a_root_of_version_1,
    an_authority,
    ec_key,
    issue,
    name_of,
    readable,
    rsa_key,
    sent,
    signed_weakly,
)

DAY = timedelta(days=1)
ROOT = an_authority("Root", "Root")
INTERMEDIATE = an_authority("Intermediate", "Root")
LEAF = a_leaf("Intermediate")
STRANGER = an_authority("Stranger", "Strange Root")
# A younger root that an older one vouches for, as public authorities begin.
OLD_ROOT = an_authority("Old Root", "Old Root")
CROSS = an_authority("Root", "Old Root")
ROOTS = Roots([ROOT])
NO_ROOTS = Roots([])


def chain_of(
    *certificates: x509.Certificate,
    chain: Sequence[x509.Certificate] = (),
    known: Sequence[x509.Certificate] = (),
    roots: Roots = ROOTS,
) -> Chain:
    """The chain of the first of `certificates`, sent with the others in `body` and `chain`."""
    leaf, *others = [*sent(*certificates), *sent(*chain, field="chain")]
    return build(leaf, others, [readable(one, "chain", 0) for one in known], roots, NOW)


def served(chain: Chain) -> list[x509.Certificate]:
    return [x509.load_der_x509_certificate(one.der) for one in chain.served]


def codes(chain: Chain) -> list[str]:
    return [finding.code for finding in chain.findings]


def only(chain: Chain, code: str, severity: str) -> Finding:
    (finding,) = chain.findings
    assert (finding.code, finding.severity) == (code, severity)
    assert finding.hint
    return finding


def hash_of(name: str) -> str:
    return name_hash(name_of(name).public_bytes())


# Correct chains


def test_a_complete_public_chain_is_served_unchanged() -> None:
    chain = chain_of(LEAF, INTERMEDIATE)

    assert (chain.trust, chain.missing_issuer, chain.findings) == ("public", None, ())
    assert served(chain) == [LEAF, INTERMEDIATE]


def test_a_chain_in_its_own_field_is_used() -> None:
    chain = chain_of(LEAF, chain=[INTERMEDIATE])

    assert (served(chain), chain.findings) == ([LEAF, INTERMEDIATE], ())


def test_a_root_may_issue_a_leaf_directly() -> None:
    leaf = a_leaf("Root")

    assert (chain_of(leaf).trust, served(chain_of(leaf))) == ("public", [leaf])


def test_a_cached_path_is_verified_for_each_leaf() -> None:
    roots = Roots([ROOT])
    forged = a_leaf("Intermediate", signer=ec_key("forger"))
    late = a_leaf("Intermediate", start=4000 * DAY, end=4010 * DAY)

    assert chain_of(LEAF, INTERMEDIATE, roots=roots).trust == "public"
    assert chain_of(a_leaf("Intermediate"), INTERMEDIATE, roots=roots).trust == "public"
    assert codes(chain_of(forged, INTERMEDIATE, roots=roots)) == ["chain_broken"]
    assert codes(chain_of(late, INTERMEDIATE, roots=roots)) == ["chain_broken"]


@pytest.mark.parametrize("days", [-3000, -5, 20, 3000])
def test_each_chain_is_verified_at_its_own_time(days: int) -> None:
    """A leaf that is not valid now is verified at its own time, with the same roots."""
    roots = Roots([ROOT])
    elsewhen = a_leaf("Intermediate", start=(days - 1) * DAY, end=days * DAY)
    expired = an_authority("Intermediate", "Root", start=-4000 * DAY, end=-DAY)
    early = an_authority("Intermediate", "Root", start=DAY, end=4000 * DAY)

    for leaf in (elsewhen, LEAF):
        chain = chain_of(leaf, expired, early, INTERMEDIATE, roots=roots)

    assert (chain.trust, served(chain)) == ("public", [LEAF, INTERMEDIATE])


def test_an_intermediate_among_the_roots_completes_every_chain() -> None:
    roots = Roots([ROOT, INTERMEDIATE])

    for leaf in (LEAF, a_leaf("Intermediate"), LEAF):
        chain = chain_of(leaf, roots=roots)

        assert (chain.trust, served(chain)) == ("public", [leaf, INTERMEDIATE])


def test_addresses_are_compared_for_each_leaf() -> None:
    """RFC 3779: the addresses of a CA limit leaves that have addresses."""
    top, low = corpus.root(), ec_key("Low")
    blocks = corpus.raw_extension(
        "1.3.6.1.5.5.7.1.7", bytes.fromhex("300c300a04020001300403 0200c0")
    )
    by = corpus.Authority("Low", low)
    above = corpus.draft_authority("Low", low, top, more=[blocks]).signed(top.key)
    roots = Roots.from_pem(pem(top.certificate).encode())

    trusts = []
    for more in ([], [blocks]):
        leaf = corpus.draft_leaf(by=by, more=more).signed(low)
        first, other = (read(one, "body", 1) for one in (leaf, above))
        assert isinstance(first, Certificate)
        assert isinstance(other, Certificate)
        trusts.append(build(first, [other], [], roots, corpus.NOW).trust)

    # The root has no addresses that it could pass on.
    assert trusts == ["public", "incomplete"]


def test_a_certificate_that_openssl_encodes_differently_is_followed() -> None:
    """The unused bits of a BIT STRING are cleared when OpenSSL writes the algorithm anew."""
    top, key = corpus.private_root(), ec_key("Odd")
    odd = corpus.draft_authority("Odd", key, top)
    content = odd.content("ecdsa-sha256").replace(
        corpus.SIGNATURES["ecdsa-sha256"], _ODD_ALGORITHM, 1
    )
    tbs = sequence(content[4:]) if content[1] == 0x82 else sequence(content[3:])
    signature = key_sign(top.key, tbs)
    leaf = corpus.leaf(by=corpus.Authority("Odd", key))
    ders = [leaf, sequence(tbs, _ODD_ALGORITHM, bits(signature)), top.certificate]
    first, *others = (read(der, "body", number) for number, der in enumerate(ders, 1))
    assert isinstance(first, Certificate)

    chain = build(
        first, [one for one in others if isinstance(one, Certificate)], [], NO_ROOTS, corpus.NOW
    )

    assert (chain.trust, len(chain.served)) == ("private", 2)


_ODD_ALGORITHM = sequence(oid("1.2.840.10045.4.3.2"), bits(b"\xff", 7))


def key_sign(key: Any, content: bytes) -> bytes:
    signature: bytes = key.sign(content, ec.ECDSA(hashes.SHA256()))
    return signature


def test_a_long_chain_is_followed() -> None:
    names = ["Root", *(f"Level {n}" for n in range(8))]
    levels = [an_authority(name, by) for by, name in pairwise(names)]
    leaf = a_leaf(names[-1])

    chain = chain_of(leaf, *reversed(levels))

    assert (chain.trust, served(chain)) == ("public", [leaf, *reversed(levels)])


# Repaired chains


@pytest.mark.parametrize("order", [[2, 1], [1, 2]])
def test_an_unordered_chain_is_sorted(order: list[int]) -> None:
    issuing = an_authority("Issuing", "Intermediate")
    leaf = a_leaf("Issuing")
    others = [[leaf, issuing, INTERMEDIATE][n] for n in order]

    chain = chain_of(leaf, *others)

    assert served(chain) == [leaf, issuing, INTERMEDIATE]
    assert codes(chain) == ["chain_unordered"] * (order != [1, 2])


def test_a_leaf_at_the_end_is_served_first() -> None:
    intermediate, leaf = sent(INTERMEDIATE, LEAF)

    chain = build(leaf, [intermediate], [], ROOTS, NOW)

    assert served(chain) == [LEAF, INTERMEDIATE]
    finding = only(chain, "chain_unordered", "info")
    assert "«CN=www.example.com», then «CN=Intermediate»" in finding.detail


def test_a_root_is_left_out() -> None:
    chain = chain_of(LEAF, INTERMEDIATE, ROOT)

    assert served(chain) == [LEAF, INTERMEDIATE]
    assert "«CN=Root»" in only(chain, "root_dropped", "info").detail


def test_duplicates_are_left_out() -> None:
    chain = chain_of(LEAF, INTERMEDIATE, LEAF, chain=[INTERMEDIATE])

    assert served(chain) == [LEAF, INTERMEDIATE]
    assert [(one.code, one.field) for one in chain.findings] == [
        ("duplicate", "body"),
        ("duplicate", "chain"),
    ]


def test_a_chain_is_completed_with_stored_intermediates() -> None:
    chain = chain_of(LEAF, known=[STRANGER, INTERMEDIATE])

    assert (chain.trust, served(chain)) == ("public", [LEAF, INTERMEDIATE])
    assert "«CN=Intermediate»" in only(chain, "chain_completed", "info").detail


def test_a_stored_intermediate_replaces_an_expired_one() -> None:
    expired = an_authority("Intermediate", "Root", end=-DAY)

    chain = chain_of(LEAF, expired, known=[INTERMEDIATE])

    assert served(chain) == [LEAF, INTERMEDIATE]
    assert codes(chain) == ["chain_completed", "chain_alternative"]


def test_a_leaf_in_the_second_field_is_served_first() -> None:
    (intermediate,), (leaf,) = sent(INTERMEDIATE), sent(LEAF, field="chain")

    chain = build(leaf, [intermediate], [], ROOTS, NOW)

    assert served(chain) == [LEAF, INTERMEDIATE]
    only(chain, "chain_unordered", "info")


# Certificates that do not belong to the chain


def test_unrelated_certificates_are_left_out() -> None:
    chain = chain_of(LEAF, STRANGER, INTERMEDIATE)

    assert served(chain) == [LEAF, INTERMEDIATE]
    finding = only(chain, "unrelated_certificate", "warning")
    assert "«CN=Stranger» (certificate 2 of body)" in finding.detail


def test_a_ca_with_the_same_name_and_another_key_is_unrelated() -> None:
    namesake = an_authority("Intermediate", "Root", key=ec_key("another"))

    chain = chain_of(LEAF, namesake, INTERMEDIATE)

    assert (chain.trust, served(chain)) == ("public", [LEAF, INTERMEDIATE])
    only(chain, "unrelated_certificate", "warning")


def test_an_uploaded_longer_path_is_served_for_old_clients() -> None:
    chain = chain_of(LEAF, INTERMEDIATE, CROSS, OLD_ROOT)

    assert (chain.trust, served(chain)) == ("public", [LEAF, INTERMEDIATE, CROSS])
    assert all(finding.severity == "info" for finding in chain.findings)


def test_an_expired_longer_path_is_not_served() -> None:
    chain = chain_of(LEAF, INTERMEDIATE, an_authority("Root", "Old Root", end=-DAY))

    assert served(chain) == [LEAF, INTERMEDIATE]
    only(chain, "chain_alternative", "info")


def test_a_longer_path_to_an_unknown_root_is_not_served() -> None:
    chain = chain_of(LEAF, INTERMEDIATE, CROSS, roots=Roots([OLD_ROOT]))

    assert (chain.trust, served(chain)) == ("public", [LEAF, INTERMEDIATE, CROSS])
    assert chain.findings == ()


def test_the_path_that_ends_in_a_root_is_chosen() -> None:
    elsewhere = an_authority("Intermediate", "Nowhere")

    chain = chain_of(LEAF, elsewhere, INTERMEDIATE)

    assert (chain.trust, served(chain)) == ("public", [LEAF, INTERMEDIATE])
    only(chain, "chain_alternative", "info")


# Untrusted chains


def test_an_uploaded_root_makes_the_chain_private() -> None:
    chain = chain_of(LEAF, INTERMEDIATE, ROOT, roots=NO_ROOTS)

    assert (chain.trust, served(chain)) == ("private", [LEAF, INTERMEDIATE])
    assert codes(chain) == ["untrusted", "root_dropped"]
    assert chain.findings[0].severity == "warning"


def test_a_private_ca_may_use_any_signature_algorithm() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    root = x509.CertificateBuilder(
        name_of("R"), name_of("R"), key.public_key(), 1, NOW - DAY, NOW + 90 * DAY
    ).add_extension(x509.BasicConstraints(True, None), critical=True)
    builder = x509.CertificateBuilder(
        name_of("R"), name_of("L"), key.public_key(), 2, NOW, NOW + DAY
    )

    assert chain_of(builder.sign(key, None), root.sign(key, None)).trust == "private"


def test_a_version_1_root_is_a_root() -> None:
    old = a_root_of_version_1("Old")

    assert chain_of(a_leaf("Old"), old).trust == "private"


def test_a_self_signed_certificate_is_its_own_issuer() -> None:
    leaf = a_leaf("www.example.com")

    chain = chain_of(leaf, INTERMEDIATE)

    assert (chain.trust, served(chain)) == ("self_signed", [leaf])
    assert codes(chain) == ["untrusted", "unrelated_certificate"]


def test_a_ca_with_the_name_of_the_leaf_is_not_the_leaf() -> None:
    authority = an_authority("www.example.com", "www.example.com")
    leaf = a_leaf("www.example.com", key=ec_key("server"))

    chain = chain_of(leaf, authority)

    assert (chain.trust, served(chain)) == ("private", [leaf])


def test_a_self_issued_certificate_without_its_own_signature_is_found() -> None:
    chain = chain_of(a_leaf("www.example.com", signer=ec_key("forger")))

    assert chain.trust == "incomplete"
    assert "its key did not sign it" in only(chain, "chain_broken", "error").detail


# Missing or broken certificates


def test_a_missing_issuer_is_found() -> None:
    chain = chain_of(LEAF)

    assert (chain.trust, served(chain)) == ("incomplete", [LEAF])
    assert chain.missing_issuer == hash_of("Intermediate")
    finding = only(chain, "chain_incomplete", "error")
    assert "«CN=www.example.com» is missing: «CN=Intermediate»" in finding.detail


def test_a_missing_issuer_further_up_is_found() -> None:
    chain = chain_of(LEAF, INTERMEDIATE, roots=NO_ROOTS)

    assert (chain.trust, served(chain)) == ("incomplete", [LEAF, INTERMEDIATE])
    assert chain.missing_issuer == hash_of("Root")
    only(chain, "chain_incomplete", "error")


def test_the_hash_of_a_missing_issuer_ignores_the_encoding_of_its_name() -> None:
    """RFC 5280, 7.1: neither case nor repeated blanks distinguish names."""
    leaf = a_leaf("the  INTERMEDIATE ", signer=ec_key("The Intermediate"))

    chain = chain_of(leaf, INTERMEDIATE)

    assert chain.missing_issuer == hash_of("The Intermediate") != hash_of("Intermediate")
    assert codes(chain) == ["chain_incomplete", "unrelated_certificate"]


def test_an_issuer_with_a_differently_encoded_name_is_found() -> None:
    assert "did not sign" in broken(a_leaf("INTERMEDIATE", signer=ec_key("forger")), INTERMEDIATE)


def broken(*certificates: x509.Certificate, roots: Roots = ROOTS) -> str:
    chain = chain_of(*certificates, roots=roots)
    assert chain.trust == "incomplete"
    return only(chain, "chain_broken", "error").detail


def test_an_issuer_that_did_not_sign_is_reported_and_may_be_replaced() -> None:
    namesake = an_authority("Intermediate", "Root", key=ec_key("another"))

    chain = chain_of(LEAF, namesake)

    assert served(chain) == [LEAF]
    assert chain.missing_issuer == hash_of("Intermediate")
    detail = only(chain, "chain_broken", "error").detail
    assert "its key did not sign «CN=www.example.com»" in detail


@pytest.mark.parametrize("place", ["leaf", "leaf's key identifier", "issuer"])
def test_an_unusable_extension_is_not_reported_as_a_wrong_signature(place: str) -> None:
    nothing = corpus.raw_extension("2.5.29.15", b"\x03\x01\x00", critical=True)
    long = corpus.raw_extension("2.5.29.19", bytes.fromhex("3007 0101ff 02020000"), critical=True)
    cut = corpus.raw_extension("2.5.29.35", b"\x30\x05\x80")
    issuer = corpus.Authority("Odd", ec_key("Odd"))
    authority = corpus.draft_authority("Odd", issuer.key, corpus.root())
    leaf = corpus.draft_leaf(by=issuer)
    if place == "issuer":
        authority = authority.but(extensions=(long, *authority.extensions[1:]))
    elif place == "leaf":
        leaf = corpus.draft_leaf(by=issuer, key_usage=nothing)
    else:
        leaf = leaf.but(extensions=(*leaf.extensions[:4], cut, *leaf.extensions[5:]))
    ders = leaf.signed(issuer.key), authority.signed(corpus.root().key)
    first, second = (read(one, "body", number) for number, one in enumerate(ders, 1))
    assert isinstance(first, Certificate)
    assert isinstance(second, Certificate)

    chain = build(first, [second], [], Roots.from_pem(pem(corpus.root().certificate).encode()), NOW)

    finding = next(one for one in chain.findings if one.code == "chain_broken")
    assert "cannot use an extension" in finding.detail
    assert "did not sign" not in finding.detail


def test_a_root_that_did_not_sign_is_found() -> None:
    assert "did not sign" in broken(a_leaf("Root", signer=ec_key("forger")))


@pytest.mark.parametrize(
    ("faulty", "reason"),
    [
        (partial(an_authority, ca=False), "basicConstraints"),
        (partial(an_authority, constraints=False), "basicConstraints"),
        (partial(an_authority, signs=False), "keyUsage"),
        (partial(an_authority, purposes=[ExtendedKeyUsageOID.EMAIL_PROTECTION]), "extendedKey"),
    ],
    ids=["no authority", "nothing said", "may not sign", "for mail"],
)
@pytest.mark.parametrize("roots", [ROOTS, NO_ROOTS], ids=["public", "private"])
def test_an_issuer_without_permission_to_issue_is_found(
    faulty: partial[x509.Certificate], reason: str, roots: Roots
) -> None:
    intermediate = faulty("Intermediate", "Root")

    detail = chain_of(LEAF, intermediate, ROOT, roots=roots).findings[0].detail

    assert "«CN=Intermediate»" in detail
    assert reason in detail


@pytest.mark.parametrize("roots", [ROOTS, NO_ROOTS], ids=["public", "private"])
def test_too_many_intermediates_are_found(roots: Roots) -> None:
    limited = an_authority("Intermediate", "Root", path_length=0)
    issuing = an_authority("Issuing", "Intermediate")

    chain = chain_of(a_leaf("Issuing"), issuing, limited, ROOT, roots=roots)

    assert "chain_broken" in codes(chain)
    assert "allows 0 CAs below it, and there are 1" in chain.findings[0].detail
    assert chain.missing_issuer is None


@pytest.mark.parametrize("roots", [ROOTS, NO_ROOTS], ids=["public", "private"])
@pytest.mark.parametrize(("hostname", "is_permitted"), [("a.corp.test", True), ("a.test", False)])
def test_name_constraints_of_a_ca_apply(roots: Roots, hostname: str, is_permitted: bool) -> None:
    constraints = x509.NameConstraints([x509.DNSName("corp.test")], None)
    limited = an_authority("Intermediate", "Root", more=[(constraints, True)])

    for _ in range(2):
        chain = chain_of(a_leaf("Intermediate", hostname), limited, ROOT, roots=roots)

        assert (chain.trust == "incomplete") is not is_permitted
        assert ("chain_broken" in codes(chain)) is not is_permitted


STRANGE = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00")


@pytest.mark.parametrize("roots", [ROOTS, NO_ROOTS], ids=["public", "private"])
@pytest.mark.parametrize("place", [0, 1])
def test_an_unknown_critical_extension_removes_trust(place: int, roots: Roots) -> None:
    """A finding of the certificate names the extension."""
    more = [[(STRANGE, True)] if one == place else [] for one in range(2)]
    leaf = a_leaf("Intermediate", more=more[0])
    intermediate = an_authority("Intermediate", "Root", more=more[1])

    chain = chain_of(leaf, intermediate, ROOT, roots=roots)

    assert (chain.trust, served(chain)) == ("incomplete", [leaf, intermediate])
    assert "chain_broken" not in codes(chain)


def test_a_chain_beyond_the_path_length_is_found() -> None:
    names = ["Root", *(f"Level {n}" for n in range(12))]
    levels = [an_authority(name, by) for by, name in pairwise(names)]

    assert "longer than 10" in broken(a_leaf(names[-1]), *reversed(levels))


def test_an_expired_root_is_found() -> None:
    root = an_authority("Root", "Root", end=-DAY)

    assert "valid from" in broken(LEAF, INTERMEDIATE, roots=Roots([root]))
    assert "valid from" in chain_of(LEAF, INTERMEDIATE, root, roots=NO_ROOTS).findings[0].detail


# Whose it is, whatever else is wrong with it


@pytest.mark.parametrize(
    "faulty",
    [
        a_leaf("Intermediate", start=-90 * DAY, end=-DAY),
        a_leaf("Intermediate", start=DAY),
        a_leaf("Intermediate", hostnames=[]),
        a_leaf("Intermediate", purposes=[ExtendedKeyUsageOID.CLIENT_AUTH]),
        a_leaf("Intermediate", ca=True),
        a_leaf("Intermediate", identifiers=False),
        a_leaf("Intermediate", key=rsa_key(1024)),
        a_leaf("Intermediate", signs=False),
    ],
    ids=["expired", "early", "nameless", "client", "authority", "bare", "weak key", "usage"],
)
def test_a_faulty_leaf_keeps_its_trust(faulty: x509.Certificate) -> None:
    chain = chain_of(faulty, INTERMEDIATE)

    assert (chain.trust, chain.findings) == ("public", ())
    assert served(chain) == [faulty, INTERMEDIATE]


def test_an_expired_intermediate_keeps_the_trust() -> None:
    chain = chain_of(LEAF, an_authority("Intermediate", "Root", end=-DAY))

    assert (chain.trust, len(chain.served), chain.findings) == ("public", 2, ())


@pytest.mark.parametrize("digest", [hashes.MD5(), hashes.SHA1()], ids=["MD5", "SHA1"])
@pytest.mark.parametrize("signer", [rsa_key(), rsa_key(3072)], ids=["signed", "forged"])
def test_a_weak_signature_keeps_the_trust(
    digest: hashes.HashAlgorithm, signer: rsa.RSAPrivateKey
) -> None:
    authority = an_authority("Intermediate", "Root", key=signer)
    leaf = signed_weakly(a_leaf("Intermediate", signer=rsa_key()), digest)

    assert (chain_of(leaf, authority).trust == "public") is (signer is rsa_key())


def test_a_weak_key_does_not_hide_another_fault() -> None:
    constraints = x509.NameConstraints([x509.DNSName("corp.test")], None)
    limited = an_authority("Intermediate", "Root", more=[(constraints, True)])

    assert "constraints" in broken(a_leaf("Intermediate", key=rsa_key(1024)), limited)


# Hostile chains


def count_verifications(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many certificates each call of OpenSSL's verifier was given, the anchors left out."""
    counted: list[int] = []
    context = Anchors._context

    def counting(
        self: Anchors, leaf: bytes, untrusted: Sequence[bytes], *how: Any, **more: Any
    ) -> Any:
        counted.append(1 + len(untrusted))
        return context(self, leaf, untrusted, *how, **more)

    monkeypatch.setattr(Anchors, "_context", counting)
    return counted


def test_many_issuers_with_one_name_cost_little(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = count_verifications(monkeypatch)
    namesakes = [an_authority("Intermediate", "Root", key=ec_key(f"k{n}")) for n in range(70)]

    chain = chain_of(LEAF, *namesakes)

    assert chain.trust == "incomplete"
    assert len(counted) <= 110


def test_the_path_search_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every CA signs every other one: there are millions of paths, and none to a root."""
    counted = count_verifications(monkeypatch)
    names = [f"Maze {n}" for n in range(9)]
    maze = [an_authority(one, by) for one in names for by in names if one != by]

    chain = chain_of(a_leaf("Maze 0"), *maze)

    assert chain.trust == "incomplete"
    assert len(counted) <= 110


def test_an_expensive_key_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = count_verifications(monkeypatch)
    numbers = rsa.RSAPublicNumbers(65537, (1 << 16383) + 1)

    class Costly:
        """A placeholder for a private key that no test needs."""

        def public_key(self) -> rsa.RSAPublicKey:
            return numbers.public_key()

    costly = an_authority("Intermediate", "Root", key=Costly())

    assert "clients do not accept" in broken(LEAF, costly)
    assert counted == [1]


def test_a_self_signed_certificate_with_a_costly_key_is_not_verified() -> None:
    numbers = rsa.RSAPublicNumbers((1 << 2046) + 1, (1 << 2047) + 1)
    leaf = x509.CertificateBuilder(
        name_of("L"), name_of("L"), numbers.public_key(), 1, NOW, NOW + DAY
    ).sign(rsa_key(), hashes.SHA256())

    assert "did not sign it" in broken(leaf)


# Roots


def test_each_public_root_verifies_itself() -> None:
    pem = Path(certifi.where()).read_bytes()
    roots = Roots.from_pem(pem)
    for text in pem.split(b"-----END CERTIFICATE-----\n")[:20]:
        own = read(b64decode(text.partition(b"-----BEGIN CERTIFICATE-----\n")[2]), "body", 1)
        assert isinstance(own, Certificate)

        assert [one.der for one in roots.named(own.subject)].count(own.der) == 1
        assert build(own, [], [], roots, NOW).trust == "self_signed"


def test_malformed_roots_are_rejected() -> None:
    with pytest.raises(ValueError, match="PEM"):
        Roots.from_pem(b"nothing")


def test_a_file_of_roots_is_read() -> None:
    pem = ROOT.public_bytes(Encoding.PEM) + OLD_ROOT.public_bytes(Encoding.PEM)

    assert chain_of(LEAF, INTERMEDIATE, roots=Roots.from_pem(pem)).trust == "public"


def test_a_name_without_attributes_is_reported() -> None:
    assert "«without a name»" in chain_of(issue("a", "", signer=ec_key("b"))).findings[0].detail
