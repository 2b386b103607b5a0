"""Where the two verdicts differ, and which differences are meant."""

import re
import ssl
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from customer_certificates.pki.chain.path import MOST_DEPTH
from customer_certificates.pki.submission import ValidationResult

from .generator import Pki
from .openssl import verify

_BLOCK = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)

# Faults of single certificates. `trust` says which root a chain leads to, and an error finding of
# its own says why a client refuses the certificate all the same:
# 9, 10 dates; 26 purpose; 34 critical extension; 66, 67 key too small; 68 digest too weak.
_TOLD_BY_A_FINDING = frozenset({9, 10, 26, 34, 66, 67, 68})

# Errors that browsers raise and OpenSSL does not (docs/reference/findings.md has the browsers).
_ASKED_BY_BROWSERS = frozenset(
    {
        "eku_missing",
        "chain_too_long",
        "eku_invalid",
        "extension_critical",
        "extension_malformed",
        "is_ca",
        "key_invalid",
        "key_usage_invalid",
        "key_weak",
        "lifetime_too_long",
        "not_servable",
        "policy_missing",
        "precertificate",
        "san_invalid",
        "san_missing",
        "signature_unsupported",
        "signature_weak",
        "tls_feature_unknown",
        "validity_invalid",
        "version_invalid",
    }
)


def differences(pki: Pki, answer: ValidationResult, at: datetime, folder: Path) -> Iterator[str]:
    """Every way in which `answer`, the service's, and OpenSSL's verdict contradict each other.

    A certificate is refused or accepted with the chain that the service would serve. That chain
    may be better than everything that was sent: OpenSSL takes the first issuer of a name and does
    not look for another, so a namesake or a cross-signed certificate can lead it astray.
    """
    errors = {one.code for one in answer.findings if one.severity == "error"}
    warnings = {one.code for one in answer.findings if one.severity == "warning"}
    sent = verify(pki.leaf, [one for one in pki.sent if one != pki.leaf], pki, at, folder)
    leads_to_a_root = answer.trust in ("public", "private", "self_signed")
    if answer.trust == "public" and not pki.is_public:
        yield "the service trusts a root that nobody named"
    if not leads_to_a_root:
        # A client that trusts a certificate itself does not verify what it says of itself.
        damages = {"signature_broken", "inner_signature_differs"} & set(pki.faults)
        is_damaged_anchor = pki.trusted == pki.leaf and bool(damages)
        # OpenSSL takes the predecessors of serverAuth, and longer chains than any browser.
        is_long = len(pki.sent) > MOST_DEPTH + 1
        is_listed = is_long or "intermediate_netscape_purpose" in pki.faults
        if sent.accepts and not is_damaged_anchor and not is_listed:
            yield f"OpenSSL accepts it, the service says {answer.trust} {sorted(errors)}"
        return
    first, *others = _served(answer)
    if first != pki.leaf:
        yield "another certificate than the leaf is served"
    served = verify(first, others, pki, at, folder)
    # A leaf that is not valid yet is stored for later, with a warning.
    told = errors or ({"not_yet_valid"} & warnings and served.errors == {9})
    if not served.accepts and not (served.errors <= _TOLD_BY_A_FINDING and told):
        yield f"the service says {answer.trust} {sorted(errors)}, OpenSSL refuses it: {served}"
    if sent.accepts and not served.accepts:
        yield f"OpenSSL accepts what was sent, and not what is served: {served}"
    if served.accepts and (more := errors - _ASKED_BY_BROWSERS):
        yield f"OpenSSL accepts it, the service finds {sorted(more)}"


def _served(answer: ValidationResult) -> list[bytes]:
    """The chain that would be served, in DER."""
    return [ssl.PEM_cert_to_DER_cert(one) for one in _BLOCK.findall(answer.chain_pem or "")]
