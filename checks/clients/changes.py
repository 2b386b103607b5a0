"""Changes of a certificate without a fault, made before it is signed."""

from collections.abc import Callable
from datetime import UTC, datetime

from cryptography import x509

from tests.corpus.authority import Draft, name, raw_extension, san_of, usage
from tests.corpus.der import element, oid
from tests.differential.drafts import name_constraints, with_extension
from tests.differential.drafts import without as _without

NOW = datetime.now(UTC).replace(microsecond=0)

BASIC, USAGE, EKU, SAN = "2.5.29.19", "2.5.29.15", "2.5.29.37", "2.5.29.17"
SKI, AKI, POLICIES, CONSTRAINTS = "2.5.29.14", "2.5.29.35", "2.5.29.32", "2.5.29.30"
DISTRIBUTION_POINTS, ISSUER_NAMES, FRESHEST_CRL = "2.5.29.31", "2.5.29.18", "2.5.29.46"
POLICY_MAPPINGS, POLICY_CONSTRAINTS, INHIBIT_ANY = "2.5.29.33", "2.5.29.36", "2.5.29.54"
AIA, SIA, TLS_FEATURE = "1.3.6.1.5.5.7.1.1", "1.3.6.1.5.5.7.1.11", "1.3.6.1.5.5.7.1.24"
SCTS, POISON = "1.3.6.1.4.1.11129.2.4.2", "1.3.6.1.4.1.11129.2.4.3"
NETSCAPE_TYPE, ADDRESS_BLOCKS = "2.16.840.1.113730.1.1", "1.3.6.1.5.5.7.1.7"
OCSP_NO_CHECK, PROXY, UNKNOWN = "1.3.6.1.5.5.7.48.1.5", "1.3.6.1.5.5.7.1.14", "1.3.6.1.4.1.99999.9"

Change = Callable[[Draft], Draft]


def same(draft: Draft) -> Draft:
    return draft


def extended(dotted: str, value: bytes) -> Change:
    """`value`, a whole extension, in place of the extension `dotted`."""
    return lambda draft: with_extension(draft, dotted, value)


def without(dotted: str) -> Change:
    return lambda draft: _without(draft, dotted)


def plain(dotted: str, value: bytes) -> Change:
    """A value in DER for an extension that is not critical."""
    return extended(dotted, raw_extension(dotted, value))


def critical(dotted: str, value: bytes) -> Change:
    """A value in DER for an extension that is critical."""
    return extended(dotted, raw_extension(dotted, value, critical=True))


def added(*extensions: bytes) -> Change:
    """More extensions at the end."""
    return lambda draft: draft.but(extensions=(*draft.extensions, *extensions))


def used(*wanted: str) -> Change:
    """A keyUsage of the `wanted` bits."""
    return extended(USAGE, usage(*wanted))


def signed_with(signature: str) -> Change:
    return lambda draft: draft.but(signature=signature)


def named(tag: int, text: bytes) -> Change:
    """A common name of another type."""
    return lambda draft: draft.but(subject=name(("2.5.4.3", element(tag, text))))


def besides(*more: bytes) -> Change:
    """More names (DER) in subjectAltName."""

    def change(draft: Draft) -> Draft:
        (host,) = (one for one in draft.extensions if oid(SAN) in one[:12])
        hostname = host[host.index(b"\x82") + 2 :]
        return with_extension(draft, SAN, san_of(element(0x82, hostname), *more))

    return change


def permitted(*names: x509.GeneralName, is_critical: bool = True) -> Change:
    return extended(CONSTRAINTS, name_constraints(names, critical=is_critical))


def written_as(tag: int, text: Callable[[bytes], bytes]) -> Change:
    """The subject's common name in another way than the certificate below has it."""

    def change(draft: Draft) -> Draft:
        at = draft.subject.rindex(b"\x06\x03\x55\x04\x03") + 7
        return draft.but(subject=name(("2.5.4.3", element(tag, text(draft.subject[at:])))))

    return change
