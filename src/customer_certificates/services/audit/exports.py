"""Exports of audit heads: files that chain to each other, each with a signed first line."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from secrets import token_hex
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import select, update

from ...crypto.ed25519 import Signer, Verifier
from ...gateways.database import EVERYBODY, Database
from ...gateways.database.sql_functions import insert_or_lock
from ...gateways.files.audit_files import HeadFile
from ...models import AuditExport
from .hash_chain import GENESIS, canonical, time_of

_SIGNED = "cc/audit-export/v2\n"


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line of an export.

    `series` identifies the exports into one folder, `number` counts them from 1. `previous` is the
    SHA-256 of the previous file. `lines` and `lines_sha256` describe the lines after the first. In
    the first export, `earlier` has the SHA-256 of each file that the folder already had.
    """

    series: str
    number: int
    at: str
    previous: str
    earlier: Mapping[str, str]
    lines: int
    lines_sha256: str
    signature: str = ""


class Recorded(NamedTuple):
    """The newest export of a series, as recorded in the database."""

    number: int
    hash: str


class AuditExports:
    """Numbers the exports of a series without gaps, across the cluster."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = database.prepare(
            insert_or_lock(AuditExport, AuditExport.series).returning(
                AuditExport.number, AuditExport.hash
            ),
            ("series", "number", "hash", "at"),
        )

    def recorded(self) -> dict[str, Recorded]:
        """Returns the newest export of each series."""
        with self._database.begin(EVERYBODY) as session:
            newest = session.scalars(select(AuditExport))
            return {export.series: Recorded(export.number, export.hash) for export in newest}

    def add(
        self,
        signer: Signer,
        lines: Iterable[str],
        at: datetime,
        files: Callable[[], list[HeadFile]],
        earlier: Callable[[], list[HeadFile]],
        write: Callable[[bytes], Any],
    ) -> Any:
        """Has `write` write the next export, and returns its result.

        `files` returns the newest files in the folder, `earlier` all of them. If a process dies
        before the database records its file, the next export follows that file.
        """
        body = "".join(f"{line}\n" for line in lines).encode()
        verifier = Verifier(signer.public_pem)
        newest = newest_export(files(), verifier)
        series = newest.manifest.series if newest else token_hex(16)
        values = {"series": series, "number": 0, "hash": GENESIS, "at": at}
        with self._database.begin(EVERYBODY) as session:
            ((number, previous),) = session.run(self._lock, **values)
            # Read again, because another host may have added one before this one acquired the lock.
            newest = newest_export(files(), verifier, series)
            if newest and newest.manifest.number > number:
                number, previous = newest.manifest.number, newest.hash
            before = {} if number else {file.name: hash_of_file(file.content) for file in earlier()}
            number += 1
            manifest = Manifest(
                series, number, time_of(at), previous, before, body.count(b"\n"), hash_of_file(body)
            )
            content = _signed_line(manifest, signer) + body
            written = write(content)
            session.execute(
                update(AuditExport)
                .where(AuditExport.series == series)
                .values(number=number, hash=hash_of_file(content), at=at)
            )
        return written


def _signed_line(manifest: Manifest, signer: Signer) -> bytes:
    signature = signer.sign(signed_content(manifest))
    signed = msgspec.structs.replace(manifest, signature=signature)
    return f"{canonical(msgspec.structs.asdict(signed))}\n".encode()


class Export(NamedTuple):
    """A file with a signed first line."""

    name: str
    hash: str
    manifest: Manifest
    body: bytes


def export_of(file: HeadFile, verifier: Verifier) -> Export | None:
    """Returns the file as an export; None without a first line signed by this key."""
    first, _, body = file.content.partition(b"\n")
    try:
        manifest = msgspec.json.decode(first, type=Manifest)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not verifier.holds(manifest.signature, signed_content(manifest)):
        return None
    return Export(file.name, hash_of_file(file.content), manifest, body)


def newest_export(
    files: Iterable[HeadFile], verifier: Verifier, series: str | None = None
) -> Export | None:
    """Returns the newest export of `series`, by default of the first export's series."""
    newest: Export | None = None
    for file in files:
        export = export_of(file, verifier)
        if export is None or export.manifest.series != (series or export.manifest.series):
            continue
        series = export.manifest.series
        if newest is None or export.manifest.number > newest.manifest.number:
            newest = export
    return newest


def hash_of_file(content: bytes) -> str:
    """Returns the SHA-256 in hexadecimal."""
    return sha256(content).hexdigest()


def signed_content(manifest: Manifest) -> bytes:
    """Returns the signed bytes: all members except the signature."""
    members = msgspec.structs.asdict(manifest)
    del members["signature"]
    return (_SIGNED + canonical(members)).encode()
