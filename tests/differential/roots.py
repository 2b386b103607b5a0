"""The roots that the random PKIs are issued under; the service trusts all of them as public."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

from cryptography import x509

from ..corpus.authority import (
    CLIENT,
    SERVER,
    Authority,
    Draft,
    draft_authority,
    name,
    purposes,
    raw_extension,
)
from ..corpus.der import element
from ..corpus.keys import Signer, ec_key, rsa_key
from .drafts import name_constraints, without

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)

_EXPIRED = datetime(2026, 11, 20, tzinfo=UTC)
_LATER = datetime(2026, 12, 1, tzinfo=UTC)


def _as_it_is(draft: Draft) -> Draft:
    return draft


def _version_1(draft: Draft) -> Draft:
    return draft.but(extensions=(), version=0)


def _no_basic_constraints(draft: Draft) -> Draft:
    return without(draft, "2.5.29.19")


def _no_key_usage(draft: Draft) -> Draft:
    return without(draft, "2.5.29.15")


def _constrained(draft: Draft) -> Draft:
    allowed = name_constraints([x509.DNSName("example.com")])
    return draft.but(extensions=(*draft.extensions, allowed))


def _for_clients(draft: Draft) -> Draft:
    return draft.but(extensions=(*draft.extensions, purposes(CLIENT)))


def _for_servers(draft: Draft) -> Draft:
    return draft.but(extensions=(*draft.extensions, purposes(SERVER)))


def _unknown_critical(draft: Draft) -> Draft:
    unknown = raw_extension("1.3.6.1.4.1.99999.7", b"\x05\x00", critical=True)
    return draft.but(extensions=(*draft.extensions, unknown))


def _printable(draft: Draft) -> Draft:
    text = element(0x13, b"Printable Root")
    written = name(("2.5.4.3", text))
    return draft.but(subject=written, issuer=written)


_ROOTS: dict[str, tuple[Callable[[], Signer], Callable[[Draft], Draft]]] = {
    "Plain Root": (lambda: ec_key("Plain Root"), _as_it_is),
    "RSA Root": (lambda: rsa_key("4096"), _as_it_is),
    "Version 1 Root": (lambda: ec_key("Version 1 Root"), _version_1),
    "Bare Root": (lambda: ec_key("Bare Root"), _no_basic_constraints),
    "No Usage Root": (lambda: ec_key("No Usage Root"), _no_key_usage),
    "Constrained Root": (lambda: ec_key("Constrained Root"), _constrained),
    "Client Root": (lambda: ec_key("Client Root"), _for_clients),
    "Server Root": (lambda: ec_key("Server Root"), _for_servers),
    "Critical Root": (lambda: ec_key("Critical Root"), _unknown_critical),
    "Printable Root": (lambda: ec_key("Printable Root"), _printable),
    "Weak Root": (lambda: rsa_key("1024"), _as_it_is),
    "SHA-1 Root": (lambda: rsa_key("3072"), lambda draft: draft.but(signature="rsa-sha1")),
    "Expired Root": (lambda: ec_key("Expired Root"), lambda draft: draft.but(end=_EXPIRED)),
    "Later Root": (lambda: ec_key("Later Root"), lambda draft: draft.but(start=_LATER)),
    "Short Root": (
        lambda: ec_key("Short Root"),
        lambda draft: draft.but(
            extensions=draft_authority(
                "Short Root", ec_key("Short Root"), Authority("Short Root", ec_key("Short Root")),
                path_length=0,
            ).extensions
        ),
    ),
}  # fmt: skip


@cache
def root(title: str) -> Authority:
    """The root of that title."""
    make_key, change = _ROOTS[title]
    bare = Authority(title, make_key())
    draft = change(draft_authority(title, bare.key, bare))
    return replace(bare, certificate=draft.signed(bare.key))


def titles() -> list[str]:
    """The titles of the roots; the first is an ordinary one."""
    return list(_ROOTS)


@cache
def twin() -> Authority:
    """Another root with the name of the first, and a key of its own."""
    key = ec_key("the twin of Plain Root")
    bare = Authority("Plain Root", key)
    return replace(bare, certificate=draft_authority("Plain Root", key, bare).signed(key))


@cache
def all_roots() -> list[Authority]:
    """Every root that the service trusts."""
    return [*(root(title) for title in titles()), twin()]
