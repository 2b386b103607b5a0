"""The certificates that the clients are shown: one fault or oddity each."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from cryptography.hazmat.primitives.asymmetric import ec

from tests.corpus.authority import Authority, draft_authority, draft_leaf, self_signed
from tests.corpus.keys import Signer, ec_key, ed448_key, ed25519_key, rsa_key, spki_of

from .changes import NOW, Change, same, signed_with, used
from .issuers import ISSUERS
from .leaves import LEAVES

ROOT = self_signed("Client Check Root", ec_key("Client Check Root"))

_DAY = timedelta(days=1)
_KEY = ec_key("client check")


@dataclass(frozen=True)
class Variant:
    """`chain` is DER, leaf first, without the root."""

    title: str
    hostname: str
    chain: tuple[bytes, ...]
    key: Signer


@dataclass(frozen=True)
class _Case:
    """How a chain of a leaf and `depth` intermediates differs from one without a fault."""

    title: str
    leaf: Change = same
    issuer: Change = same
    key: Signer = _KEY
    issuer_key: Signer | None = None
    hostname: str = ""
    depth: int = 1


def variants() -> Iterator[Variant]:
    """Every variant; the first is without a fault."""
    for number, case in enumerate(_cases()):
        host = case.hostname.replace("#", str(number)) or f"v{number}.example.com"
        yield Variant(case.title, host, _chain(number, host, case), case.key)


def _chain(number: int, hostname: str, case: _Case) -> tuple[bytes, ...]:
    authority, chain = ROOT, list[bytes]()
    for level in reversed(range(case.depth)):
        title = f"Issuer {number}.{level}"
        key = case.issuer_key or ec_key(title)
        draft = draft_authority(title, key, authority).but(
            start=NOW - 100 * _DAY, end=NOW + 900 * _DAY
        )
        chain.insert(0, case.issuer(draft).signed(authority.key))
        authority = Authority(title, key)
    leaf = draft_leaf(hostname, by=authority, spki=spki_of(case.key)).but(
        start=NOW - 5 * _DAY, end=NOW + 80 * _DAY
    )
    return case.leaf(leaf).signed(authority.key), *chain


def _cases() -> Iterator[_Case]:
    for title, change in LEAVES:
        yield _Case(title, leaf=change)
    yield _Case("underscore in a label", hostname="a_b#.example.com")
    yield _Case("hyphen at a label's end", hostname="x#-.t.example.com")
    yield _Case("hyphen at a label's start", hostname="-x#.t.example.com")
    for title, change in ISSUERS:
        yield _Case(f"intermediate: {title}", issuer=change)
    for depth in (6, 7, 8, 10):
        yield _Case(f"{depth} intermediates", depth=depth)
    for title, key in _KEYS.items():
        yield _Case(f"key: {title}", key=key)
    yield _Case("key: RSA, keyEncipherment alone", used("key_encipherment"), key=rsa_key("2048"))
    for title, key in _ISSUER_KEYS.items():
        yield _Case(f"intermediate's key: {title}", issuer_key=key)
    for title, signature in _SIGNATURES.items():
        yield _Case(f"signed with {title}", signed_with(signature), issuer_key=rsa_key("2048"))


_KEYS: dict[str, Signer] = {
    "RSA-2048": rsa_key("2048"),
    "RSA-1024": rsa_key("1024"),
    "P-384": ec_key("client check", ec.SECP384R1()),
    "P-521": ec_key("client check", ec.SECP521R1()),
    "P-224": ec_key("client check", ec.SECP224R1()),
    "Ed25519": ed25519_key("client check"),
    "Ed448": ed448_key("client check"),
}
_ISSUER_KEYS: dict[str, Signer] = {
    "RSA-1024": rsa_key("1024"),
    "RSA-4096": rsa_key("4096"),
    "RSA-8192": rsa_key("8192"),
    "P-384": ec_key("client check issuer", ec.SECP384R1()),
    "P-521": ec_key("client check issuer", ec.SECP521R1()),
    "P-224": ec_key("client check issuer", ec.SECP224R1()),
    "P-192": ec_key("client check issuer", ec.SECP192R1()),
    "secp256k1": ec_key("client check issuer", ec.SECP256K1()),
    "Ed25519": ed25519_key("client check issuer"),
    "Ed448": ed448_key("client check issuer"),
}
_SIGNATURES = {
    "RSASSA-PSS": "rsa-pss-sha256",
    "RSA and SHA-224": "rsa-sha224",
    "RSA, no parameters": "rsa-bare-sha256",
}
