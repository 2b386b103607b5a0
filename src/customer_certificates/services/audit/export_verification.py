"""Verifies that a folder's exports are complete and unchanged. Pure."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ...crypto.ed25519 import Verifier
from ...gateways.files.audit_files import HeadFile
from .exports import Export, Recorded, export_of, hash_of_file
from .hash_chain import GENESIS
from .signed_heads import SignedHead, heads_of
from .verification import Fault

# Hosts' clocks differ, and files without a first line have no number that orders them.
_ALLOWANCE = timedelta(minutes=1)


@dataclass(slots=True)
class Exported:
    """The content of files with heads; `series` are the series of these files."""

    heads: list[SignedHead] = field(default_factory=list)
    unsigned: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    series: set[str] = field(default_factory=set)


def read_exports(
    paths: Mapping[str, tuple[bool, Sequence[HeadFile]]],
    verifier: Verifier,
    recorded: Mapping[str, Recorded],
) -> Exported:
    """Returns the heads in files and folders, and faults of those files.

    `paths` says for each path whether it is a folder, and which files it has. A folder must have
    all exports up to the newest one that the database recorded.
    """
    result = Exported()
    for path, (is_folder, files) in paths.items():
        exports = []
        for file in files:
            export = export_of(file, verifier)
            body = export.body if export else file.content
            heads, unsigned = heads_of(body.decode().splitlines(), verifier)
            result.heads += heads
            result.unsigned += unsigned
            if export:
                exports.append(export)
                result.faults += _lines_at_fault(export)
                result.series.add(export.manifest.series)
        if is_folder:
            if not files:
                result.faults.append(
                    f"{path} contains no heads: they were removed or never exported."
                )
            result.faults += _faults_of_folder(files, exports, recorded)
    return result


def backward_heads(heads: Iterable[SignedHead]) -> list[Fault]:
    """Returns heads with fewer entries than an earlier signed head of the same chain."""
    faults = []
    most: dict[int, SignedHead] = {}
    waiting: deque[SignedHead] = deque()
    for head in sorted(heads, key=lambda head: head.at):
        limit = datetime.fromisoformat(head.at) - _ALLOWANCE
        while waiting and datetime.fromisoformat(waiting[0].at) <= limit:
            before = waiting.popleft()
            if before.chain not in most or most[before.chain].seq < before.seq:
                most[before.chain] = before
        other = most.get(head.chain)
        if other and head.seq < other.seq:
            what = (
                f"A head goes backwards: it was signed at {head.at}, but {other.seq} entries "
                f"existed at {other.at}."
            )
            faults.append(Fault(head.chain, head.seq, what))
        waiting.append(head)
    return faults


def _lines_at_fault(export: Export) -> Iterator[str]:
    manifest = export.manifest
    if hash_of_file(export.body) != manifest.lines_sha256:
        here = export.body.count(b"\n")
        yield (
            f"{export.name}: its lines are not those that were written ({here} found, "
            f"{manifest.lines} written)."
        )


def _faults_of_folder(
    files: Sequence[HeadFile], exports: Iterable[Export], recorded: Mapping[str, Recorded]
) -> Iterator[str]:
    hashes = {file.name: hash_of_file(file.content) for file in files}
    by_series: dict[str, dict[int, Export]] = {}
    for export in exports:
        of_series = by_series.setdefault(export.manifest.series, {})
        other = of_series.setdefault(export.manifest.number, export)
        if other.hash != export.hash:
            yield f"{export.name}: {other.name} has the same number, {export.manifest.number}."
    for series, of_series in by_series.items():
        yield from _faults_of_series(series, of_series, hashes, recorded.get(series))


def _faults_of_series(
    series: str, exports: Mapping[int, Export], hashes: Mapping[str, str], recorded: Recorded | None
) -> Iterator[str]:
    newest = max(exports)
    missing = [number for number in range(1, newest) if number not in exports]
    if missing:
        listed = ", ".join(map(str, missing[:10])) + (" …" if len(missing) > 10 else "")
        yield f"Exports are missing from series {series}: numbers {listed}."
    for number, export in sorted(exports.items()):
        before = exports.get(number - 1)
        expected = before.hash if before else GENESIS if number == 1 else None
        if expected and export.manifest.previous != expected:
            yield f"{export.name}: the previous export is not the one that it was written after."
        for name, file_hash in export.manifest.earlier.items():
            if name not in hashes:
                yield f"{name} is missing: it existed before {export.name}."
            elif hashes[name] != file_hash:
                yield f"{name} was changed after {export.name} was written."
    if recorded is None:
        yield (
            f"The database has no record of series {series}: it is another database, or was "
            "restored."
        )
    elif recorded.number > newest:
        yield (
            f"The newest exports are missing from series {series}: the database recorded "
            f"number {recorded.number}, but the newest one here is {newest}."
        )
    elif recorded.number in exports and exports[recorded.number].hash != recorded.hash:
        yield f"{exports[recorded.number].name} is not the export that the database recorded."
