"""Findings of certificates about the ownership of their hostnames."""

import msgspec

from ...errors import Finding

RELEASED = "hostname_released"
CONTESTED = "hostname_contested"
PROOF_MISSING = "hostname_proof_missing"
_CODES = {RELEASED, CONTESTED, PROOF_MISSING}
# The limit for one certificate.
_MOST = 100


def without_hostname_findings(findings: str, hostname: str | None = None) -> str:
    """Returns findings (JSON) without those about ownership of `hostname` (None: of all)."""
    if not any(code in findings for code in _CODES):
        return findings
    return _encoded([item for item in _decoded(findings) if not _is_about(item, hostname)])


def with_hostname_finding(findings: str, finding: Finding, hostname: str) -> str:
    """Returns findings (JSON) with `finding`, which replaces others about the same hostname."""
    others = [item for item in _decoded(findings) if not _is_about(item, hostname)]
    number = sum(item.code in _CODES for item in others)
    return _encoded([*others, finding] if number < _MOST else others)


def _is_about(finding: Finding, hostname: str | None) -> bool:
    return finding.code in _CODES and hostname in (None, finding.detail.partition(" ")[0])


def _decoded(findings: str) -> list[Finding]:
    return msgspec.json.decode(findings, type=list[Finding])


def _encoded(findings: list[Finding]) -> str:
    return msgspec.json.encode(findings).decode()
