"""Where the two verdicts differ, and which differences are meant."""

import re
import ssl
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from customer_certificates.pki.material import Examined

from .generator import Pki
from .openssl import Verdict, verify

_BLOCK = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)

# Faults of single certificates. `trust` says which root a chain leads to, and an error finding of
# its own says why a client refuses the certificate all the same:
# 9, 10 dates; 26 purpose; 34 critical extension; 66, 67 key too small; 68 digest too weak.
_TOLD_BY_A_FINDING = frozenset({9, 10, 26, 34, 66, 67, 68})

# Errors that browsers raise and OpenSSL does not. docs/findings.md says which browser, for each.
_ASKED_BY_BROWSERS = frozenset(
    {
        "eku_missing",
        "extension_duplicate",
        "is_ca",
        "key_invalid",
        "key_usage_invalid",
        "key_weak",
        "lifetime_too_long",
        "not_servable",
        "precertificate",
        "san_invalid",
        "san_missing",
        "signature_weak",
        "validity_invalid",
    }
)


def differences(pki: Pki, answer: Examined, at: datetime, folder: Path) -> Iterator[str]:
    """Every way in which `answer`, the service's, and OpenSSL's verdict contradict each other."""
    others = [one for one in pki.sent if one != pki.leaf]
    verdict = verify(pki.leaf, others, pki.trusted, at, folder)
    errors = {one.code for one in answer.findings if one.severity == "error"}
    warnings = {one.code for one in answer.findings if one.severity == "warning"}
    leads_to_a_root = answer.trust in ("public", "private", "self_signed")
    if answer.trust == "public" and not pki.is_public:
        yield "the service trusts a root that nobody named"
    if leads_to_a_root and not verdict.accepts:
        # A leaf that is not valid yet is stored for later, with a warning.
        told = errors or ({"not_yet_valid"} & warnings and verdict.errors == {9})
        if not verdict.errors <= _TOLD_BY_A_FINDING or not told:
            yield _refused(verdict, answer, errors)
    if verdict.accepts and not leads_to_a_root:
        yield f"OpenSSL accepts it, the service says {answer.trust} {sorted(errors)}"
    elif verdict.accepts and (more := errors - _ASKED_BY_BROWSERS):
        yield f"OpenSSL accepts it, the service finds {sorted(more)}"
    if verdict.accepts and leads_to_a_root:
        yield from _served(pki, answer, at, folder)


def _refused(verdict: Verdict, answer: Examined, errors: set[str]) -> str:
    text = verdict.text.replace("\n", " | ")
    return f"the service says {answer.trust} {sorted(errors)}, OpenSSL refuses it: {text}"


def _served(pki: Pki, answer: Examined, at: datetime, folder: Path) -> Iterator[str]:
    """What is served is what was sent for, in order, and enough for the same client."""
    if not answer.chain_pem:
        yield "OpenSSL accepts it, and no chain is served"
        return
    served = [ssl.PEM_cert_to_DER_cert(one) for one in _BLOCK.findall(answer.chain_pem)]
    if served[0] != pki.leaf:
        yield "another certificate than the leaf is served first"
    alone = verify(served[0], served[1:], pki.trusted, at, folder)
    if not alone.accepts:
        yield f"OpenSSL refuses the chain that is served: {alone.text.replace(chr(10), ' | ')}"
