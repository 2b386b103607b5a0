"""Exports of the audit log's heads form a series; verification finds missing and changed ones."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from customer_certificates.config import Config
from customer_certificates.crypto.ed25519 import Signer, new_key
from customer_certificates.maintenance.audit import Verified, export_heads, verify_audit
from customer_certificates.models import AuditExport, AuditHead
from customer_certificates.services.audit.exports import hash_of_file
from customer_certificates.services.audit.hash_chain import canonical, time_of

from ..conftest import Backend

pytestmark = pytest.mark.one_backend


class Exports:
    """A folder with heads without a first line, and three exports that chain to each other."""

    def __init__(
        self, client: TestClient, engine: sa.Engine, backend: Backend, owner: int, folder: Path
    ) -> None:
        self.engine = engine
        self.folder = folder / "heads"
        self._client, self._user = client, f"/users/{owner}"
        (key := folder / "audit.pem").write_bytes(new_key())
        self.config: Config = backend.config(CC_AUDIT_KEY_FILE=str(key))
        self.signer = Signer(key.read_bytes())
        self.folder.mkdir()
        self.unchained = self.folder / "heads-20260101T000000.000000Z-00000000.jsonl"
        self.unchained.write_text("".join(f"{self.head(seq)}\n" for seq in (1, 1)))
        self.files = [self.export() for _ in range(3)]

    def export(self) -> Path:
        self._client.simulate_patch(self._user, json={"name": "Ada"})
        return export_heads(self.config, self.folder)

    def verify(self) -> Verified:
        return verify_audit(self.config, None, [self.folder], None)

    def head(self, seq: int, at: datetime | None = None) -> str:
        """A line of the current state of a chain, signed by this service."""
        with self.engine.connect() as connection:
            chain, made = connection.execute(sa.select(AuditHead.chain, AuditHead.hash)).one()
        head = {"chain": chain, "seq": seq, "hash": made, "at": time_of(at or datetime.now(UTC))}
        signature = self.signer.sign(f"cc/audit-head/v1\n{canonical(head)}".encode())
        return canonical({**head, "signature": signature})

    def record(self, change: int) -> None:
        """Changes the number that the database has recorded."""
        with self.engine.begin() as connection:
            connection.execute(sa.update(AuditExport).values(number=AuditExport.number + change))


@pytest.fixture
def exports(
    client: TestClient, engine: sa.Engine, backend: Backend, owner: int, tmp_path: Path
) -> Exports:
    return Exports(client, engine, backend, owner, tmp_path)


def faults(found: Verified) -> list[str]:
    return [*found.exports, *found.unsigned, *(fault.what for fault in found.report.faults)]


def test_exports_continue_the_series_in_the_folder(exports: Exports) -> None:
    manifests = [json.loads(file.read_text().splitlines()[0]) for file in exports.files]

    assert faults(exports.verify()) == []
    assert [one["number"] for one in manifests] == [1, 2, 3]
    assert [one["previous"] for one in manifests[1:]] == [
        hash_of_file(file.read_bytes()) for file in exports.files[:2]
    ]
    unchained = {exports.unchained.name: hash_of_file(exports.unchained.read_bytes())}
    assert [one["earlier"] for one in manifests] == [unchained, {}, {}]


def remove_all(exports: Exports) -> None:
    for file in exports.folder.glob("heads-*"):
        file.unlink()


def remove_the_newest_and_export(exports: Exports) -> None:
    exports.files[2].unlink()
    exports.export()


def remove_a_line(exports: Exports) -> None:
    first, *_ = exports.files[1].read_text().splitlines(keepends=True)
    exports.files[1].write_text(first)


def remove_a_line_of_the_newest(exports: Exports) -> None:
    first, *_ = exports.files[2].read_text().splitlines(keepends=True)
    exports.files[2].write_text(first)


def remove_a_first_line(exports: Exports) -> None:
    _, *rest = exports.files[1].read_text().splitlines(keepends=True)
    exports.files[1].write_text("".join(rest))


def repeat_a_line(exports: Exports) -> None:
    text = exports.files[1].read_text()
    exports.files[1].write_text(text + text.splitlines()[1] + "\n")


def exchange_two(exports: Exports) -> None:
    """Replaces the second export by another one with its number, as after a restore."""
    kept = exports.files[1].read_bytes()
    exports.files[1].unlink()
    exports.files[2].unlink()
    exports.record(-2)
    other = exports.export()
    assert json.loads(other.read_text().splitlines()[0])["number"] == 2
    exports.export()
    other.write_bytes(kept)


def renumber(exports: Exports) -> None:
    text = exports.files[2].read_text()
    exports.files[2].write_text(text.replace('"number":3', '"number":4'))


def change_what_was_there_before(exports: Exports) -> None:
    line, _ = exports.unchained.read_text().splitlines(keepends=True)
    exports.unchained.write_text(line)


def go_back(exports: Exports) -> None:
    later = datetime.now(UTC) + timedelta(minutes=5)
    file = exports.folder / "heads-20991231T000000.000000Z-00000000.jsonl"
    file.write_text(exports.head(2, later) + "\n")


@pytest.mark.parametrize(
    ("tamper", "told"),
    [
        (remove_all, "no heads"),
        (lambda exports: exports.files[0].unlink(), "missing from series"),
        (lambda exports: exports.files[1].unlink(), "numbers 2."),
        (lambda exports: exports.files[2].unlink(), "The newest exports are missing"),
        (remove_the_newest_and_export, "numbers 3."),
        (remove_a_line, "its lines are not those that were written (0 found, 1"),
        (remove_a_line_of_the_newest, "its lines are not those that were written"),
        (remove_a_first_line, "numbers 2."),
        (repeat_a_line, "its lines are not those that were written (2 found, 1"),
        (exchange_two, "is not the one that it was written after"),
        (renumber, '"number":4'),
        (lambda exports: exports.unchained.unlink(), "is missing: it existed before"),
        (change_what_was_there_before, "was changed after"),
        (go_back, "A head goes back"),
        (lambda exports: exports.record(1), "number 4, but the newest one here is 3"),
    ],
)
def test_verification_reports_tampering(
    exports: Exports, tamper: Callable[[Exports], None], told: str
) -> None:
    tamper(exports)

    assert any(told in fault for fault in faults(exports.verify())), faults(exports.verify())


def test_an_unrecorded_export_is_continued(exports: Exports) -> None:
    exports.record(-1)
    last = exports.export()

    assert json.loads(last.read_text().splitlines()[0])["number"] == 4
    assert faults(exports.verify()) == []


@pytest.mark.both_backends
def test_concurrent_exports_of_several_hosts_form_one_series(exports: Exports) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: export_heads(exports.config, exports.folder), range(4)))

    assert faults(exports.verify()) == []
    numbers = [
        json.loads(file.read_text().splitlines()[0])["number"]
        for file in exports.folder.glob("heads-*")
        if file != exports.unchained
    ]
    assert sorted(numbers) == list(range(1, 8))


def test_each_folder_has_a_series_of_its_own(exports: Exports, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for _ in range(2):
        export_heads(exports.config, other)

    found = exports.verify()
    assert (faults(found), len(found.other_series)) == ([], 1)
    found = verify_audit(exports.config, None, [exports.folder, other], None)
    assert (faults(found), len(found.other_series)) == ([], 0)
    # A single file says nothing of those before it.
    assert faults(verify_audit(exports.config, None, [exports.files[1]], None)) == []
