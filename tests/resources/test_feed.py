"""The feed: a snapshot, then each change, to whoever may have the keys."""

import threading
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from falcon.testing import TestClient

from customer_certificates.gateways.database.changes import Changes
from customer_certificates.models import PrivateKey, User
from customer_certificates.services.terminators import feed

from ..applications import Clock
from ..conftest import Backend
from ..credentials import bearer, make_token
from ..pki import authority
from ..pki.authority import a_leaf
from . import an_upload_of, base64_of, der_of, key_der, pem, refusal, self_signed, store
from .feed_reader import FEED, Reader
from .test_resolver import DAY, WWW, add, public
from .test_terminators import LONG, reads


def id_of(path: str) -> int:
    return int(path.rpartition("/")[2])


def test_an_entry_has_all_that_is_served(
    reporting: TestClient, owner: int, engine: sa.Engine
) -> None:
    middle = authority.an_authority("Middle", "Root")
    leaf = a_leaf("Middle", WWW, hostnames=[WWW, "*.example.com"])
    path = store(reporting, owner, an_upload_of(leaf, middle), active=True)
    shown = reporting.simulate_get(path).json
    (entry,) = Reader(reporting, engine).page()["changes"]

    key = load_pem_private_key(entry.pop("private_key_pem").encode(), None)
    assert der_of(key) == key_der(WWW)
    same = ("not_before", "not_after", "trust", "fingerprint_sha256", "chain_pem", "version")
    assert entry == {
        "certificate_id": shown["id"],
        "user_id": owner,
        "active": True,
        "hostnames": ["*.example.com", WWW],
        "key_type": "ecdsa",
        **{name: shown[name] for name in same},
    }
    assert entry["chain_pem"] == pem(leaf, middle)


def test_a_snapshot_comes_in_pages_and_is_followed_by_changes(
    reporting: TestClient, owner: int, stranger: int, engine: sa.Engine
) -> None:
    ids = [add(reporting, user, self_signed(WWW)) for user in (owner,) * 3]
    ids += [add(reporting, stranger, self_signed("www.example.org"))]
    add(reporting, owner, self_signed(WWW), active=False)
    reader = Reader(reporting, engine, limit=2)

    first = reader.page()
    assert (first["reset"], first["more"]) == (True, True)
    assert [one["certificate_id"] for one in first["changes"]] == ids[:2]
    # A change between two pages comes after the snapshot, wherever the certificate was in it.
    reporting.simulate_delete(f"/users/{owner}/certificates/{ids[0]}")
    new = add(reporting, owner, self_signed(WWW))
    assert reader.read() == [(ids[2], 1), (ids[3], 1), (new, 1)]
    assert reader.read() == [(ids[0], None), (new, 1)]
    assert (reader.read(), reader.resets) == ([], 1)


def test_each_change_goes_out_once(
    reporting: TestClient, owner: int, stranger: int, engine: sa.Engine
) -> None:
    reader = Reader(reporting, engine)
    assert (reader.read(), reader.resets) == ([], 1)

    path = store(reporting, owner, self_signed(WWW))
    certificate_id = id_of(path)
    assert reader.read() == []
    reporting.simulate_patch(f"{path}/active", json={"active": True, "notify": False})
    assert reader.read() == [(certificate_id, 1)]
    reporting.simulate_patch(f"{path}/active", json={"active": True})
    assert reader.read() == []
    reporting.simulate_put(path, json=self_signed(WWW))
    assert reader.read() == [(certificate_id, 2)]
    reporting.simulate_post(f"{path}/rollback", json={"version": 1})
    assert reader.read() == [(certificate_id, 3)]
    reporting.simulate_patch(f"{path}/active", json={"active": False})
    assert reader.read() == [(certificate_id, None)]
    reporting.simulate_patch(f"{path}/active", json={"active": True})
    assert reader.read() == [(certificate_id, 3)]
    reporting.simulate_delete(path)
    assert reader.read() == [(certificate_id, None)]

    theirs = [add(reporting, stranger, self_signed(f"{n}.example.org")) for n in range(2)]
    inactive = add(reporting, stranger, self_signed(WWW), active=False)
    assert reader.read() == [(one, 1) for one in theirs]
    reporting.simulate_delete(f"/users/{stranger}")
    assert reader.read() == [(one, None) for one in theirs]
    assert inactive not in theirs
    assert reader.resets == 1


def test_several_changes_of_one_certificate_are_one(
    reporting: TestClient, owner: int, engine: sa.Engine
) -> None:
    reader = Reader(reporting, engine)
    reader.read()
    path = store(reporting, owner, self_signed(WWW), active=True)
    other = add(reporting, owner, self_signed("shop.example.com"))
    for _ in range(3):
        reporting.simulate_put(path, json=self_signed(WWW))
    page = reader.page()

    assert [one["certificate_id"] for one in page["changes"]] == [other, id_of(path)]
    assert page["changes"][1]["version"] == 4
    events = [one["event_id"] for one in page["changes"]]
    assert events == sorted(events)


def test_many_changes_come_in_pages(
    reporting: TestClient, owner: int, monkeypatch: pytest.MonkeyPatch, engine: sa.Engine
) -> None:
    monkeypatch.setattr(feed, "_MOST_CHANGES", 2)
    reader = Reader(reporting, engine)
    reader.read()
    ids = [add(reporting, owner, self_signed(f"{n}.example.com")) for n in range(5)]

    pages = [reader.page() for _ in range(3)]
    assert [page["more"] for page in pages] == [True, True, False]
    assert [one["certificate_id"] for page in pages for one in page["changes"]] == ids


def test_a_page_of_large_certificates_ends_sooner(
    reporting: TestClient, owner: int, monkeypatch: pytest.MonkeyPatch, engine: sa.Engine
) -> None:
    ids = [add(reporting, owner, self_signed(f"{n}.example.com")) for n in range(3)]
    monkeypatch.setattr(feed, "_MOST_BYTES", 1)
    reader = Reader(reporting, engine)

    assert [len(reader.page()["changes"]) for _ in range(3)] == [1, 1, 1]
    assert (reader.read(), reader.resets) == ([], 1)
    assert len(ids) == 3


@pytest.mark.parametrize(
    "since",
    ["x", "0", "0" * 16, f"{'0' * 16}.1.1.1", f"{'0' * 16}.1.{'9' * 19}.1", "\x00", "é", "%20"],
)
def test_a_cursor_that_is_none_begins_a_snapshot(
    reporting: TestClient, owner: int, since: str, engine: sa.Engine
) -> None:
    certificate_id = add(reporting, owner, self_signed(WWW))
    reader = Reader(reporting, engine)
    reader.cursor = since
    page = reader.page()

    assert page["reset"]
    assert [one["certificate_id"] for one in page["changes"]] == [certificate_id]


def test_a_cursor_of_another_time_begins_a_snapshot(
    reporting: TestClient, owner: int, clock: Clock, engine: sa.Engine
) -> None:
    add(reporting, owner, self_signed(WWW, end=900 * DAY))
    reader = Reader(reporting, engine)
    reader.read()

    clock.now += 88 * DAY
    assert not reader.page()["reset"]
    clock.now += 88 * DAY
    assert not reader.page()["reset"]
    clock.now += 90 * DAY
    assert reader.page()["reset"]

    epoch, second, xid, last_id = reader.cursor.split(".")
    # Where a database was put back to an earlier state, it has not come so far yet.
    ahead = f"{int(xid) + 10**6}.0" if int(xid) else f"0.{int(last_id) + 10**6}"
    for cursor in (f"{epoch}.{second}.{ahead}", f"{'0' * 16}.{second}.{xid}.{last_id}"):
        reader.cursor = cursor
        assert reader.page()["reset"]


def test_what_cannot_be_served_is_not_sent(
    reporting: TestClient, owner: int, engine: sa.Engine, clock: Clock
) -> None:
    expired = add(reporting, owner, public(start=-9 * DAY, end=-DAY))
    without_key = add(reporting, owner, public(), private_key=base64_of(b"garbage"))
    add(reporting, owner, public(), body="no certificate")
    tampered = add(reporting, owner, public())
    with engine.begin() as connection:
        connection.execute(
            sa.update(PrivateKey)
            .where(PrivateKey.certificate_id == tampered)
            .values(sealed=b"CCK1" + bytes(100))
        )
    early = add(reporting, owner, public(start=DAY))
    reader = Reader(reporting, engine)
    # The names of the others are kept from other users.
    assert reader.read() == [(early, 1), (expired, None), (without_key, None)]
    assert [detail["keys"] for _, _, detail in reads(engine)] == [[[early, 1]]]

    path = store(reporting, owner, public(), active=True)
    assert reader.read() == [(id_of(path), 1)]
    past = public(start=-9 * DAY, end=-DAY)
    reporting.simulate_put(path, json={**past, "allow_lost_hostnames": True})
    (change,) = reader.page()["changes"]
    assert (change["certificate_id"], change["reserved_hostnames"]) == (id_of(path), [WWW])


def test_who_read_which_keys_is_recorded_for_each_user(
    reporting: TestClient, owner: int, stranger: int, engine: sa.Engine
) -> None:
    mine = [add(reporting, owner, self_signed(f"{n}.example.com")) for n in range(2)]
    (theirs,) = [add(reporting, stranger, self_signed("www.example.org"))]
    Reader(reporting, engine).read()

    assert [
        (chain, path, detail["channel"], detail["keys"]) for chain, path, detail in reads(engine)
    ] == [
        (owner, f"/users/{owner}/certificates", "feed", [[one, 1] for one in mine]),
        (stranger, f"/users/{stranger}/certificates/{theirs}", "feed", [[theirs, 1]]),
    ]


def test_a_terminator_is_sent_what_is_within_its_reach(
    reporting: TestClient, closed: TestClient, owner: int, stranger: int, engine: sa.Engine
) -> None:
    def reader(**reach: Any) -> Reader:
        token = make_token(engine, "terminator", **reach)
        return Reader(TestClient(closed.app, headers=bearer(token)), engine)

    by_user = reader(user_ids=f"[{owner}]")
    by_name = reader(hostnames=f'["{WWW}"]')
    everything = reader()
    mine = add(reporting, owner, public(WWW, **LONG), grant_hostnames=True)
    theirs = store(reporting, stranger, public("www.example.org", **LONG), active=True)

    assert by_user.read() == [(mine, 1)]
    assert by_name.read() == [(mine, 1)]
    assert everything.read() == [(mine, 1), (id_of(theirs), 1)]

    changes = {"allow_lost_hostnames": True, "grant_hostnames": True}
    reporting.simulate_put(theirs, json={**public("*.example.com", **LONG), **changes})
    assert by_user.read() == []
    assert by_name.read() == [(id_of(theirs), 2)]
    reporting.simulate_put(
        theirs, json={**self_signed("a.example.org", **LONG), "allow_lost_hostnames": True}
    )
    assert by_name.read() == [(id_of(theirs), None)]


def test_a_terminator_learns_nothing_of_names_beyond_its_reach(
    reporting: TestClient, closed: TestClient, owner: int, stranger: int, engine: sa.Engine
) -> None:
    token = make_token(engine, "terminator", hostnames=f'["{WWW}"]')
    reader = Reader(TestClient(closed.app, headers=bearer(token)), engine)
    names = [WWW, "*.example.com", "shop.example.com"]
    both = add(reporting, owner, public(WWW, hostnames=names, **LONG))
    (entry,) = reader.page()["changes"]
    assert entry["hostnames"] == ["*.example.com", WWW]

    secret = store(reporting, stranger, public("secret.example.org", **LONG), active=True)
    reporting.simulate_put(
        secret, json={**public("hidden.example.org", **LONG), "allow_lost_hostnames": True}
    )
    reporting.simulate_delete(secret)
    assert reader.page()["changes"] == []
    reporting.simulate_delete(f"/users/{owner}/certificates/{both}")
    assert reader.read() == [(both, None)]


@pytest.mark.parametrize(
    "query", [{"wait": "61"}, {"wait": "x"}, {"limit": "0"}, {"since": "x" * 201}]
)
def test_what_cannot_be_asked_is_refused(reporting: TestClient, query: dict[str, str]) -> None:
    answer = reporting.simulate_get(FEED, params=query)

    assert refusal(answer) == (422, "invalid", dict.fromkeys(query, "invalid_parameter"))


class Waiting:
    """Somebody who waits for a change, in a thread."""

    def __init__(self, reader: Reader, seconds: int = 50) -> None:
        self.page: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._wait, args=[reader, seconds])
        self._thread.start()

    def _wait(self, reader: Reader, seconds: int) -> None:
        self.page = reader.page_now(wait=seconds)

    def answered(self) -> dict[str, Any]:
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.page


def test_who_waits_is_told_when_something_changes(
    reporting: TestClient, owner: int, engine: sa.Engine
) -> None:
    reader = Reader(reporting, engine)
    reader.read()
    waiting = Waiting(reader)
    certificate_id = add(reporting, owner, self_signed(WWW))

    assert [one["certificate_id"] for one in waiting.answered()["changes"]] == [certificate_id]
    assert Waiting(reader, 1).answered()["changes"] == []


def test_who_waits_holds_up_nobody(
    reporting: TestClient, owner: int, monkeypatch: pytest.MonkeyPatch, engine: sa.Engine
) -> None:
    """More of them than requests are worked on at once."""
    begun = threading.Semaphore(0)
    wait = Changes.wait

    def told(self: Changes, *given: Any) -> None:
        begun.release()
        wait(self, *given)

    monkeypatch.setattr(Changes, "wait", told)
    readers = [Reader(reporting, engine) for _ in range(8)]
    for reader in readers:
        reader.read()
    waiting = [Waiting(reader) for reader in readers]
    for _ in waiting:
        assert begun.acquire(timeout=20)
    assert reporting.simulate_get(f"/users/{owner}").status_code == 200
    certificate_id = add(reporting, owner, self_signed(WWW))
    for one in waiting:
        assert [of["certificate_id"] for of in one.answered()["changes"]] == [certificate_id]


def test_what_is_held_back_by_an_older_transaction_is_not_passed_over(
    backend: Backend, reporting: TestClient, owner: int, stranger: int, engine: sa.Engine
) -> None:
    """Two transactions end in another order than they began: neither's event may be lost."""
    reader = Reader(reporting, engine)
    reader.read()
    if backend.name == "sqlite":
        # There one follows the other.
        add(reporting, owner, self_signed(WWW))
        assert len(reader.read()) == 1
        return
    with engine.begin() as older:
        older.execute(sa.update(User).where(User.id == stranger).values(name="renamed"))
        certificate_id = add(reporting, owner, self_signed(WWW))
        assert reader.page_now()["changes"] == []
        waiting = Waiting(reader)
    assert [one["certificate_id"] for one in waiting.answered()["changes"]] == [certificate_id]
