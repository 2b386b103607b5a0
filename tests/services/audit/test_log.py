"""The audit log of a day: verification finds every change made behind the service's back."""

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from customer_certificates.crypto.ed25519 import Signer, Verifier, new_key
from customer_certificates.gateways.database import EVERYBODY, Database
from customer_certificates.models import AuditEntry, AuditHead
from customer_certificates.services.audit.hash_chain import GENESIS, Entry, hash_of
from customer_certificates.services.audit.log import Audit
from customer_certificates.services.audit.signed_heads import AuditHeads, SignedHead, heads_of
from customer_certificates.services.audit.verification import AuditVerification, Report
from customer_certificates.services.principal import Principal

from ...tables import NOW, PRINCIPAL

SIGNER = Signer(new_key())
VERIFIER = Verifier(SIGNER.public_pem)
CHAINS = [0, 1, 2, 3, 7]
ENTRIES = 100
SECOND = timedelta(seconds=1)
ROWS = sa.select(AuditEntry.__table__)


class Day:
    """Entries at intervals of a second, and the heads that were signed afterwards."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = NOW
        self.audit = Audit(database, lambda: self.now)
        self.heads: list[SignedHead] = []

    def record(self, chain: int, number: int) -> None:
        self.now += SECOND
        caller = Principal("user", f"request-{number}", "192.0.2.1", token_id=5, user_id=chain)
        with self.database.begin(EVERYBODY) as session:
            self.audit.record(
                session,
                caller if number % 3 else PRINCIPAL,
                ["certificate.upload", "certificate.activate", "user.change"][number % 3],
                chain,
                f"/users/{chain}/certificates/{number}" if number % 7 else None,
                outcome="done" if number % 5 else "refused",
                detail={"number": number, "name": '\u00e4\u2028"\\\x1f'} if number % 2 else None,
            )

    def sign(self) -> None:
        self.now += timedelta(hours=1)
        lines = list(AuditHeads(self.database, lambda: self.now).signed(SIGNER, None))
        self.heads, unsigned = heads_of(lines, VERIFIER)
        assert unsigned == []


@pytest.fixture
def day(database: Database) -> Day:
    made = Day(database)
    chance = random.Random(1)
    for number in range(ENTRIES):
        made.record(chance.choice(CHAINS), number)
    made.sign()
    return made


class Inside:
    """Runs statements in a transaction of the test, which can be rolled back."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def prepare(self, statement: Any, *, tenant: str | None) -> Callable[..., Sequence[Any]]:
        return lambda **values: [tuple(row) for row in self._connection.execute(statement, values)]


def test_a_day_verifies(day: Day) -> None:
    verification = AuditVerification(day.database)

    assert verification.run(None, day.heads) == Report(len(CHAINS), ENTRIES)
    assert verification.run(None, []) == Report(len(CHAINS), ENTRIES)
    assert verification.run(7, day.heads).faults == []
    assert sorted(head.chain for head in day.heads) == CHAINS
    for number in range(20):
        day.record(CHAINS[number % 5], number)
    assert verification.run(None, day.heads) == Report(len(CHAINS), ENTRIES + 20)


@pytest.mark.one_backend
def test_a_chain_longer_than_one_look_verifies(
    day: Day, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("customer_certificates.services.audit.log.MOST_WITHOUT_CHANGE", 1000)
    for number in range(1000):
        day.record(9, number)
    verification = AuditVerification(day.database)
    assert verification.run(9, []) == Report(1, 1000)
    day.record(9, 1000)
    assert verification.run(9, []) == Report(1, 1001)

    with engine.begin() as connection:
        connection.execute(
            sa.delete(AuditEntry).where(AuditEntry.chain == 9, AuditEntry.seq == 1001)
        )
    (fault,) = verification.run(9, []).faults
    assert (fault.chain, fault.seq) == (9, 1000)


@pytest.mark.one_backend
def test_only_what_has_changed_is_signed_again(day: Day) -> None:
    last = day.now
    day.now += timedelta(minutes=10)
    day.record(7, 1)
    lines = list(AuditHeads(day.database, lambda: day.now).signed(SIGNER, last))

    (head,), _ = heads_of(lines, VERIFIER)
    assert (head.chain, head.at) == (7, day.now.isoformat(timespec="microseconds")[:-6] + "Z")


@pytest.mark.one_backend
def test_an_unsigned_head_is_reported(day: Day) -> None:
    head = day.heads[0]
    lines = [
        msgspec.json.encode(msgspec.structs.replace(head, **{name: value})).decode()
        for name, value in {
            "chain": 4,
            "seq": head.seq + 1,
            "hash": "0" * 64,
            "at": "2026-11-25T00:00:00.000000Z",
            "signature": day.heads[1].signature,
        }.items()
    ]
    lines += ["{}", "rubbish", ""]

    assert heads_of(lines, VERIFIER) == ([], lines)
    other = Verifier(Signer(new_key()).public_pem)
    assert heads_of([msgspec.json.encode(head).decode()], other)[0] == []


class Tampering:
    """Makes a random change behind the service's back, and returns its chain."""

    def __init__(self, connection: sa.Connection, chance: random.Random) -> None:
        self._connection = connection
        self._chance = chance
        self._chain = chance.choice(CHAINS)
        self._of_chain = AuditEntry.chain == self._chain
        self._rows = [
            row._asdict()
            for row in connection.execute(ROWS.where(self._of_chain).order_by(AuditEntry.seq))
        ]

    def run(self) -> tuple[str, set[int]]:
        ways = [
            self._edit,
            self._edit,
            self._edit_head,
            self._delete,
            self._delete_head,
            self._swap,
            self._append,
            self._append_and_move,
            self._truncate,
            self._rewrite,
            self._delete_all,
            self._insert,
        ]
        way = self._chance.choice(ways)
        moved_to = way()
        return way.__name__, {self._chain, *([moved_to] if moved_to is not None else [])}

    def _edit(self) -> int | None:
        row = self._chance.choice(self._rows)
        name = self._chance.choice(list(row))
        value = self._other(row[name])
        if name in ("chain", "seq"):
            value = 10**6
        self._update(row["seq"], {name: value})
        return value if name == "chain" else None

    def _other(self, value: Any) -> Any:
        if value is None or isinstance(value, int):
            return (value or 0) + self._chance.choice([-1, 1, 10**6])
        if isinstance(value, datetime):
            return value + timedelta(microseconds=self._chance.choice([-1, 1, 10**9]))
        place = self._chance.randrange(len(value) + 1)
        return value[:place] + self._chance.choice([" ", "x", "{}", "\u00e9"]) + value[place:]

    def _update(self, seq: int, values: dict[str, Any]) -> None:
        self._connection.execute(
            sa.update(AuditEntry).where(self._of_chain, AuditEntry.seq == seq).values(values)
        )

    def _edit_head(self) -> None:
        name = self._chance.choice(["seq", "hash", "at"])
        last = self._rows[-1]
        self._move_head({name: self._other(last[name])})

    def _move_head(self, values: dict[str, Any]) -> None:
        self._connection.execute(
            sa.update(AuditHead).where(AuditHead.chain == self._chain).values(values)
        )

    def _delete(self, *more: Any) -> None:
        number = self._chance.choice([1, 1, 2, 5])
        first = self._chance.choice(self._rows)["seq"]
        self._connection.execute(
            sa.delete(AuditEntry).where(
                self._of_chain, AuditEntry.seq.between(first, first + number - 1)
            )
        )

    def _delete_head(self) -> None:
        self._connection.execute(sa.delete(AuditHead).where(AuditHead.chain == self._chain))

    def _delete_all(self) -> None:
        self._connection.execute(sa.delete(AuditEntry).where(self._of_chain))
        self._delete_head()

    def _swap(self) -> None:
        one, two = self._chance.sample(self._rows, 2)
        # With their hashes, or with what they say alone.
        kept = self._chance.choice([{"chain", "seq"}, {"chain", "seq", "hash", "prev_hash"}])
        for here, there in ((one, two), (two, one)):
            self._update(here["seq"], {name: there[name] for name in there if name not in kept})

    def _append(self) -> None:
        """Adds a valid entry, but does not move the head."""
        self._add(self._rows[-1]["at"] + SECOND * 4000)

    def _append_and_move(self) -> None:
        """Adds a valid entry from before the head was signed."""
        made = self._add(self._rows[-1]["at"] + SECOND * self._chance.randrange(3000))
        self._move_head({"seq": made["seq"], "hash": made["hash"], "at": made["at"]})

    def _add(self, at: datetime) -> dict[str, Any]:
        last = self._rows[-1]
        row = {**last, "seq": last["seq"] + 1, "prev_hash": last["hash"], "at": at}
        row["hash"] = _hash_of(row)
        self._connection.execute(sa.insert(AuditEntry).values(row))
        return row

    def _insert(self) -> None:
        """Inserts an entry between two others, and renumbers those after it."""
        place = self._chance.randrange(len(self._rows))
        self._write([*self._rows[:place], self._rows[place], *self._rows[place:]], place)

    def _truncate(self) -> None:
        """Removes the last entries, and moves the head back."""
        self._write(self._rows[: self._chance.randrange(1, len(self._rows))], len(self._rows))

    def _rewrite(self) -> None:
        """Changes an entry, and recomputes all hashes from there on."""
        place = self._chance.randrange(len(self._rows))
        rows = [dict(row) for row in self._rows]
        rows[place]["request_id"] += "x"
        self._write(rows, place)

    def _write(self, rows: list[dict[str, Any]], changed_from: int) -> None:
        """Rewrites the chain and its head; hashes are valid from `changed_from` on."""
        self._delete_all()
        last = GENESIS
        written = []
        for place, row in enumerate(rows):
            new = {**row, "seq": place + 1}
            if place >= changed_from:
                new["prev_hash"] = last
                new["hash"] = _hash_of(new)
            last = new["hash"]
            written.append(new)
        self._connection.execute(sa.insert(AuditEntry), written)
        end = {name: written[-1][name] for name in ("chain", "seq", "hash", "at")}
        self._connection.execute(sa.insert(AuditHead).values(end))


def _hash_of(row: dict[str, Any]) -> str:
    return hash_of(Entry(**{name: row[name] for name in Entry._fields}))


@pytest.fixture
def connection(engine: sa.Engine) -> Iterator[sa.Connection]:
    with engine.connect() as connection:
        yield connection


def test_tampering_is_found(
    day: Day, connection: sa.Connection, pytestconfig: pytest.Config
) -> None:
    """Each with the chain that it is in; the heads find what hashes that fit would hide.

    A thousand of them with `--long`.
    """
    count = 1000 if pytestconfig.getoption("--long") else 150
    verification = AuditVerification(Inside(connection))  # pyrefly: ignore[bad-argument-type]
    missed = []
    for number in range(count):
        way, chains = Tampering(connection, random.Random(number)).run()
        faults = verification.run(None, day.heads).faults
        if not faults or {fault.chain for fault in faults} - chains:
            missed.append((number, way, chains, faults))
        connection.rollback()

    assert missed == []
    assert verification.run(None, day.heads) == Report(len(CHAINS), ENTRIES)


def test_an_unreadable_entry_is_a_fault(day: Day, engine: sa.Engine) -> None:
    """SQLite lets anything be put into any column."""
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.execute(sa.text("UPDATE audit SET at = 'x' WHERE chain = 7 AND seq = 3"))
        else:
            connection.execute(sa.text("UPDATE audit SET at = now() WHERE chain = 7 AND seq = 3"))

    (fault,) = AuditVerification(day.database).run(None, []).faults
    assert fault.chain == 7
    assert fault.seq <= 3
