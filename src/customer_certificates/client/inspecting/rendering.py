"""The printed description of a certificate and its findings."""

from datetime import datetime

from cryptography import x509
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ...errors import Finding, Severity
from ...pki.submission import Leaf, ValidationResult
from ...terminal import escaped
from ..text import NONE, distance, places
from .grouping import Subject

_STYLES: dict[Severity, str] = {"error": "bold red", "warning": "yellow", "info": "cyan"}
_TRUST = {
    "public": "public: the chain leads to a root that browsers trust",
    "private": "private: the chain leads to a private root",
    "self_signed": "self-signed: browsers do not trust the certificate",
    "incomplete": "incomplete: an intermediate certificate is missing",
    "unreadable": "unreadable: the certificate cannot be read",
}


def describe(subject: Subject, result: ValidationResult, now: datetime) -> RenderableType:
    """Returns the printed description of one certificate."""
    parts: list[RenderableType] = [Text(places(subject.files), "bold")]
    if result.leaf:
        parts.append(Padding.indent(_facts(result, result.leaf, now), 2))
    if result.leaf and result.findings:
        parts.append(Text())
    parts += [Padding.indent(_finding(finding), 2) for finding in result.findings]
    if not result.findings:
        parts.append(Text("  No problems found.", "green"))
    return Group(*parts)


def _facts(result: ValidationResult, leaf: Leaf, now: datetime) -> Table:
    facts = {
        "subject": [leaf.subject or NONE],
        "issuer": [leaf.issuer or NONE],
        "names": [", ".join(leaf.hostnames) or NONE],
        "valid": [
            f"{leaf.not_before:%Y-%m-%d} to {leaf.not_after:%Y-%m-%d}, {_validity(leaf, now)}"
        ],
        "key": [leaf.key_algorithm],
        "signature": [leaf.signature_algorithm],
        "serial": [leaf.serial],
        "SHA-256": [leaf.fingerprint_sha256],
        "to serve": _served(result.chain_pem or ""),
        "trust": [_TRUST[result.trust]],
    }
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, lines in facts.items():
        table.add_row(name, Text("\n".join(escaped(line) for line in lines)))
    return table


def _validity(leaf: Leaf, now: datetime) -> str:
    if now < leaf.not_before:
        return f"begins {distance(leaf.not_before, now)}"
    return f"{'expired' if leaf.not_after < now else 'expires'} {distance(leaf.not_after, now)}"


def _served(chain_pem: str) -> list[str]:
    """Returns a line for each certificate of the chain, the leaf first."""
    if not chain_pem:
        return [NONE]
    chain = x509.load_pem_x509_certificates(chain_pem.encode())
    return [
        f"{number}. {certificate.subject.rfc4514_string() or NONE}"
        for number, certificate in enumerate(chain, 1)
    ]


def _finding(finding: Finding) -> Text:
    return Text.assemble(
        (f"{finding.severity} {finding.code}", _STYLES[finding.severity]),
        f"\n  {escaped(finding.detail)}",
        (f"\n  → {escaped(finding.hint)}", "dim"),
    )
