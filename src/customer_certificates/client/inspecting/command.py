"""The command `inspect`: describes certificates without the service."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import certifi
import msgspec

from ...errors import Finding
from ...pki.chain.completion import Roots
from ...pki.submission import Leaf, Trust, ValidationResult
from ...pki.validation import validate
from ...terminal import escaped, note, show_json
from ..importing.file_contents import read_contents
from ..importing.scan import walk
from ..text import console
from .grouping import Subject, subjects_in
from .rendering import describe


class Inspected(msgspec.Struct):
    """The JSON output. It never holds any part of a private key."""

    files: list[str]
    trust: Trust
    certificate: Leaf | None
    chain_pem: str | None
    findings: tuple[Finding, ...]


def run(
    files: Sequence[Path],
    key: Path | None,
    passphrases: Sequence[str],
    now: datetime,
    *,
    as_json: bool,
) -> int:
    """Returns the exit code: 1 if a finding is an error or a file cannot be read."""
    walked = walk([*files, *([key] if key else [])])
    for path, reason in walked.obstacles:
        note(escaped(f"{path}: {reason}"))
    # A file given as both is inspected as a certificate, together with its key.
    key = None if key in files else key
    read = [read_contents(file, passphrases) for file in walked.files]
    contents = [file for file in read if file.data.strip() or file.problems]
    empty = [file for file in read if file not in contents]
    for file in empty:
        note(escaped(f"{file.path}: the file is empty"))
    roots = Roots.from_pem(certifi.contents().encode())
    inspected = [(subject, _inspect(subject, roots, now)) for subject in subjects_in(contents, key)]
    if as_json:
        _print_json(inspected)
    else:
        terminal = console()
        for number, (subject, result) in enumerate(inspected):
            if number:
                terminal.print()
            terminal.print(describe(subject, result, now))
    return int(
        bool(walked.obstacles or empty)
        or any(
            finding.severity == "error" for _, result in inspected for finding in result.findings
        )
    )


def _inspect(subject: Subject, roots: Roots, now: datetime) -> ValidationResult:
    """Inspects a certificate. Leaves out findings about parts that were not given."""
    result = validate(subject.submission, now, roots)
    missing = set()
    if not (subject.submission.private_key or subject.submission.pkcs12):
        missing.add("private_key")
    if not (subject.submission.body or subject.submission.pkcs12):
        missing.add("body")
    findings = tuple(finding for finding in result.findings if finding.field not in missing)
    return msgspec.structs.replace(result, findings=findings)


def _print_json(inspected: Sequence[tuple[Subject, ValidationResult]]) -> None:
    output = [
        Inspected(
            [escaped(str(path)) for path in subject.files],
            result.trust,
            result.leaf,
            result.chain_pem,
            result.findings,
        )
        for subject, result in inspected
    ]
    show_json(output)
