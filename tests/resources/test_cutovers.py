"""A renewal never takes a name off the air: it waits, and takes over when its time has come."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
import sqlalchemy as sa
from falcon.testing import Result, TestClient

from customer_certificates.gateways.database import Database
from customer_certificates.models import AuditEntry, Certificate, Event
from customer_certificates.services.audit.log import Audit
from customer_certificates.services.certificates.versions.cutovers import Cutovers
from customer_certificates.services.events.log import Events

from ..applications import Apps, Clock
from ..conftest import StoredKeys
from ..credentials import bearer, make_token
from ..factories import listed
from ..ownership import cutovers_on, hostnames_on
from ..tables import dump
from . import base64_of, codes, key_der, refusal, self_signed, store
from .feed_reader import Reader
from .test_feed import id_of
from .test_resolver import public, resolved
from .test_serving import item, report

pytestmark = pytest.mark.one_backend

WWW, SHOP = "www.example.com", "shop.example.com"
DAY = timedelta(days=1)
ALLOWED = {"allow_lost_hostnames": True}
TEXT = {"body": "test body", "private_key": base64_of(b"test private key")}

Run = Callable[[], int]


@pytest.fixture
def cutovers(database: Database, clock: Clock) -> Cutovers:
    return cutovers_on(database, clock)


@pytest.fixture
def run(cutovers: Cutovers) -> Run:
    """Makes the cutovers that are due, as a worker does."""
    return cutovers.run


@pytest.fixture
def certificate(enforcing: TestClient, owner: int) -> str:
    """The path of the owner's certificate, which is served."""
    return store(enforcing, owner, public(WWW, end=30 * DAY), active=True)


def future(hostname: str = WWW, **faults: Any) -> dict[str, Any]:
    return public(hostname, **{"start": 5 * DAY, "end": 80 * DAY, **faults})


def at(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def put(client: TestClient, path: str, upload: dict[str, Any], **changes: Any) -> Result:
    return client.simulate_put(path, json={**upload, **changes})


def served(client: TestClient, hostname: str = WWW) -> list[tuple[int, int]]:
    """Ids and versions of the selected."""
    selected = resolved(client, hostname)["selected"]
    return [(one["certificate_id"], one["version"]) for one in selected]


def events(engine: sa.Engine) -> list[tuple[str, int | None]]:
    with engine.connect() as connection:
        rows = connection.execute(sa.select(Event.type, Event.version).order_by(Event.id))
        return [(kind.removeprefix("certificate."), version) for kind, version in rows]


def versions(client: TestClient, path: str) -> list[tuple[int, bool]]:
    shown = client.simulate_get(f"{path}/versions").json
    return [(one["version"], one["active"]) for one in shown]


def test_one_that_is_not_valid_yet_waits_and_takes_over(
    enforcing: TestClient,
    owner: int,
    certificate: str,
    clock: Clock,
    run: Run,
    engine: sa.Engine,
    stored_keys: StoredKeys,
) -> None:
    reader = Reader(enforcing, engine)
    reader.read()
    answer = put(enforcing, certificate, future())
    start = clock.now + 5 * DAY

    assert answer.status_code == 200, answer.text
    shown = answer.json
    pending = shown["pending"]
    assert (shown["version"], pending["version"], pending["activate_at"]) == (1, 2, at(start))
    assert pending["hostnames"] == [WWW]
    assert "not_yet_valid" in codes(pending["findings"])
    after = enforcing.simulate_get(certificate)
    assert (listed(after.json), after.headers["ETag"]) == (shown, answer.headers["ETag"])
    assert enforcing.simulate_get(f"/users/{owner}/certificates").json == [shown]
    assert versions(enforcing, certificate) == [(2, False), (1, True)]

    clock.now = start - timedelta(seconds=1)
    assert (run(), served(enforcing), reader.read()) == (0, [(id_of(certificate), 1)], [])
    clock.now = start
    assert (run(), run()) == (1, 0)
    assert served(enforcing) == [(id_of(certificate), 2)]
    assert reader.read() == [(id_of(certificate), 2)]
    now = enforcing.simulate_get(certificate).json
    assert (now["version"], now["pending"], now["status"]) == (2, None, "active")
    assert now["fingerprint_sha256"] == pending["fingerprint_sha256"]
    assert now["updated_at"] == at(start)
    assert versions(enforcing, certificate) == [(2, True), (1, False)]
    assert events(engine)[2:] == [("scheduled", 2), ("replaced", 2)]
    assert list(stored_keys().values()) == [key_der(WWW)] * 2
    with engine.connect() as connection:
        actions = sa.select(AuditEntry.action, AuditEntry.outcome).order_by(AuditEntry.seq)
        rows = connection.execute(actions.where(AuditEntry.chain == owner)).all()
    assert ("certificate.cut_over", "done") in [tuple(row) for row in rows]


@pytest.mark.both_backends
def test_a_list_that_was_cached_shows_each_step(
    enforcing: TestClient, owner: int, certificate: str, clock: Clock, run: Run
) -> None:
    path = f"/users/{owner}/certificates"

    def again(tag: str) -> Result:
        return enforcing.simulate_get(path, headers={"If-None-Match": tag})

    first = enforcing.simulate_get(path)
    put(enforcing, certificate, future())
    second = again(first.headers["ETag"])
    clock.now += 5 * DAY
    run()
    third = again(second.headers["ETag"])
    assert [one.status_code for one in (second, third)] == [200, 200]
    assert second.json[0]["pending"]["version"] == third.json[0]["version"] == 2


def test_a_cutover_is_at_the_time_that_was_asked_for(
    enforcing: TestClient, certificate: str, clock: Clock, run: Run
) -> None:
    when = clock.now + 3 * DAY
    upload = public(WWW)
    zoned = when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00")
    shown = put(enforcing, certificate, upload, activate_at=zoned).json
    again = put(enforcing, certificate, upload, activate_at=at(when))

    assert (shown["version"], shown["pending"]["activate_at"]) == (1, at(when))
    assert again.json == shown, "a request that is repeated changes nothing"
    clock.now = when
    assert run() == 1
    assert enforcing.simulate_get(certificate).json["version"] == 2


def test_an_upload_becomes_active_at_its_time(
    enforcing: TestClient, owner: int, clock: Clock, run: Run, engine: sa.Engine
) -> None:
    when = clock.now + 6 * DAY
    path = f"/users/{owner}/certificates"
    answer = enforcing.simulate_post(path, json={**future(), "activate_at": at(when)})
    made = answer.json

    assert answer.status_code == 201, answer.text
    assert (made["active"], made["pending"]["version"]) == (False, 1)
    assert enforcing.simulate_get(answer.headers["Location"]).json["pending"] == made["pending"]
    assert served(enforcing) == []
    clock.now = when
    assert (run(), run()) == (1, 0)
    assert served(enforcing) == [(made["id"], 1)]
    shown = enforcing.simulate_get(answer.headers["Location"]).json
    assert (shown["active"], shown["pending"], shown["version"]) == (True, None, 1)
    assert events(engine) == [("created", 1), ("scheduled", 1), ("activated", 1)]
    with engine.connect() as connection:
        audited = sa.select(AuditEntry.detail).where(AuditEntry.action == "certificate.upload")
        assert f'"activate_at":"{at(when)}"' in connection.execute(audited).scalar_one()


def test_whoever_activates_it_at_once_leaves_nothing_scheduled(
    enforcing: TestClient, owner: int, clock: Clock, run: Run
) -> None:
    path = store(enforcing, owner, public(), activate_at=at(clock.now + DAY))
    enforcing.simulate_patch(f"{path}/active", json={"active": True})
    enforcing.simulate_patch(f"{path}/active", json={"active": False})
    clock.now += DAY
    assert (run(), enforcing.simulate_get(path).json["active"]) == (0, False)


def test_one_that_is_replaced_before_it_is_activated_is_activated_all_the_same(
    enforcing: TestClient, owner: int, clock: Clock, run: Run
) -> None:
    when = at(clock.now + DAY)
    path = store(enforcing, owner, public(), activate_at=when)
    later = store(enforcing, owner, public())
    shown = put(enforcing, path, public()).json
    scheduled = put(enforcing, later, public(), activate_at=when).json

    assert [one["pending"]["version"] for one in (shown, scheduled)] == [2, 2]
    clock.now += DAY
    assert run() == 2
    for one in (path, later):
        now = enforcing.simulate_get(one).json
        assert (now["active"], now["version"], now["pending"]) == (True, 2, None)


def test_one_that_is_stored_already_is_scheduled_and_scheduled_anew(
    enforcing: TestClient, owner: int, clock: Clock, run: Run, engine: sa.Engine
) -> None:
    upload = public()
    path = store(enforcing, owner, upload)
    list_path = f"/users/{owner}/certificates"
    for days in (3, 2, 2):
        when = clock.now + days * DAY
        shown = put(enforcing, path, upload, activate_at=at(when)).json
        assert (shown["version"], shown["active"]) == (1, False)
        assert (shown["pending"]["version"], shown["pending"]["activate_at"]) == (1, at(when))
        assert enforcing.simulate_get(list_path).json == [shown]
    assert put(enforcing, path, upload).json == shown
    clock.now = when
    assert run() == 1
    assert enforcing.simulate_get(path).json["active"]
    assert events(engine) == [("created", 1), ("scheduled", 1), ("scheduled", 1), ("activated", 1)]


def test_what_is_to_be_activated_must_be_valid_then(
    reporting: TestClient, owner: int, clock: Clock, engine: sa.Engine
) -> None:
    path = store(reporting, owner, public(), activate_at=at(clock.now + DAY))
    before = dump(engine)
    answer = put(reporting, path, future(), **ALLOWED)
    assert refusal(answer)[0] == 409
    assert refusal(answer)[2]["activate_at"] == "would_not_be_served"
    assert dump(engine) == before


def test_what_waits_for_its_activation_follows_a_rollback(
    reporting: TestClient, owner: int, clock: Clock, engine: sa.Engine, run: Run
) -> None:
    when = at(clock.now + DAY)
    path = store(reporting, owner, future())
    first = put(reporting, path, public(end=10 * DAY)).json
    put(reporting, path, public(), activate_at=when)
    before = dump(engine)

    def back(version: int) -> Result:
        return reporting.simulate_post(f"{path}/rollback", json={"version": version})

    early = back(1)
    assert refusal(early)[0] == 409
    assert refusal(early)[2]["activate_at"] == "would_not_be_served"
    assert dump(engine) == before
    shown = back(2).json
    assert (shown["version"], shown["pending"]["version"]) == (4, 4)
    assert shown["pending"]["activate_at"] == when
    assert shown["pending"]["fingerprint_sha256"] == first["fingerprint_sha256"]
    clock.now += DAY
    assert run() == 1
    assert reporting.simulate_get(path).json["active"]


@pytest.mark.parametrize("activate_at", ["2026-06-01T12:00:00Z", "2020-01-01T00:00:00Z"])
def test_a_time_that_has_passed_is_refused(
    enforcing: TestClient, owner: int, certificate: str, engine: sa.Engine, activate_at: str
) -> None:
    before = dump(engine)
    sent = {**public(), "activate_at": activate_at}
    for answer in (
        enforcing.simulate_put(certificate, json=sent),
        enforcing.simulate_post(f"/users/{owner}/certificates", json=sent),
    ):
        assert refusal(answer) == (422, "invalid", {"activate_at": "invalid_value"})
    assert dump(engine) == before


@pytest.mark.parametrize(
    "activate_at", ["2026-06-02", "2026-06-02T12:00:00", "tomorrow", 1, True, "0001-01-01T00:00+14"]
)
def test_what_is_no_time_is_refused(
    enforcing: TestClient, certificate: str, activate_at: Any
) -> None:
    answer = put(enforcing, certificate, public(), activate_at=activate_at)
    assert refusal(answer)[:2] == (422, "invalid")
    assert refusal(answer)[2].keys() == {"activate_at"}


def test_to_be_active_now_and_later_is_a_contradiction(
    enforcing: TestClient, owner: int, clock: Clock
) -> None:
    sent = {**public(), "active": True, "activate_at": at(clock.now + DAY)}
    answer = enforcing.simulate_post(f"/users/{owner}/certificates", json=sent)
    assert refusal(answer) == (422, "invalid", {"activate_at": "conflicting_fields"})


@pytest.mark.parametrize(("start", "days"), [(5, 4), (5, 81), (-5, 90)])
def test_it_must_be_valid_at_that_time(
    enforcing: TestClient,
    owner: int,
    certificate: str,
    clock: Clock,
    engine: sa.Engine,
    start: int,
    days: int,
) -> None:
    before = dump(engine)
    sent = future(start=start * DAY)
    sent["activate_at"] = at(clock.now + days * DAY)
    for answer in (
        enforcing.simulate_put(certificate, json=sent),
        enforcing.simulate_post(f"/users/{owner}/certificates", json=sent),
    ):
        assert answer.status_code == 409
        assert "would_not_be_served" in codes(answer.json["errors"])
    assert dump(engine) == before


EXPIRED = {"start": -80 * DAY, "end": -DAY}
BAD: dict[str, dict[str, Any]] = {
    "expired": self_signed(WWW, **EXPIRED),
    "expired, publicly trusted": public(WWW, **EXPIRED),
    "text": TEXT,
    "another's key": {**public(WWW), "private_key": base64_of(key_der("another"))},
    "no key": {**public(WWW), "private_key": base64_of(b"none")},
}


@pytest.mark.parametrize("way", ["replaced", "rolled back"])
@pytest.mark.parametrize("bad", BAD)
def test_what_no_server_is_given_does_not_take_over(
    reporting: TestClient, owner: int, engine: sa.Engine, bad: str, way: str
) -> None:
    path = store(reporting, owner, BAD[bad] if way == "rolled back" else public(), active=True)
    if way == "rolled back":
        put(reporting, path, public(), **ALLOWED)
    before, chosen = dump(engine), served(reporting)

    def change(**more: Any) -> Result:
        if way == "replaced":
            return put(reporting, path, BAD[bad], **more)
        return reporting.simulate_post(f"{path}/rollback", json={"version": 1, **more})

    answer = change()
    assert refusal(answer)[:2] == (409, "conflict")
    found = codes(answer.json["errors"])
    assert "would_not_be_served" in found
    assert len(found) > 1, "all that was found comes with it"
    assert (dump(engine), served(reporting)) == (before, chosen)
    assert chosen
    assert change(**ALLOWED).status_code == 200
    assert served(reporting) == []


@pytest.mark.parametrize("bad", BAD)
def test_what_is_not_served_may_be_replaced_with_anything(
    reporting: TestClient, owner: int, bad: str
) -> None:
    inactive = store(reporting, owner, public())
    broken = store(reporting, owner, {**TEXT, "body": "another text"}, active=True)
    sent = {**BAD[bad], **ALLOWED}
    for path in (inactive, broken):
        assert put(reporting, path, sent).json["version"] == 2


def test_what_no_server_will_ever_be_given_is_stored_at_once_if_that_is_allowed(
    reporting: TestClient, owner: int
) -> None:
    path = store(reporting, owner, public(), active=True)
    sent = {**future(), "private_key": base64_of(key_der("another"))}
    refused = put(reporting, path, sent)
    assert refusal(refused)[0] == 409
    (why,) = [one for one in refused.json["errors"] if one["code"] == "would_not_be_served"]
    assert "allow_lost_hostnames" in why["hint"]
    shown = put(reporting, path, sent, **ALLOWED).json
    assert (shown["version"], shown["pending"]) == (2, None)


def test_one_that_is_valid_only_after_the_present_one_is_asked_about(
    enforcing: TestClient, certificate: str, clock: Clock, engine: sa.Engine, run: Run
) -> None:
    before = dump(engine)
    late = future(start=31 * DAY)
    answer = put(enforcing, certificate, late)
    assert answer.status_code == 409
    assert codes(answer.json["errors"]) >= {"present_expires_first", "not_yet_valid"}
    chosen = put(enforcing, certificate, public(), activate_at=at(clock.now + 31 * DAY))
    assert "present_expires_first" in codes(chosen.json["errors"])
    assert dump(engine) == before

    shown = put(enforcing, certificate, late, **ALLOWED).json
    assert (shown["version"], shown["pending"]["version"]) == (1, 2)
    clock.now += 31 * DAY
    assert run() == 1


def test_one_that_will_be_served_before_the_new_one_stays_until_then(
    enforcing: TestClient, owner: int, clock: Clock, run: Run
) -> None:
    path = store(enforcing, owner, future(), active=True)
    shown = put(enforcing, path, future(start=20 * DAY)).json
    assert (shown["version"], shown["pending"]["version"]) == (1, 2)
    clock.now += 5 * DAY
    assert (run(), served(enforcing)) == (0, [(id_of(path), 1)])
    clock.now += 15 * DAY
    assert (run(), served(enforcing)) == (1, [(id_of(path), 2)])


def test_everything_is_said_at_once(enforcing: TestClient, certificate: str) -> None:
    answer = put(enforcing, certificate, public(SHOP, start=31 * DAY))
    assert answer.status_code == 409
    assert codes(answer.json["errors"]) >= {
        "hostnames_lost",
        "present_expires_first",
        "not_yet_valid",
    }


def test_the_last_request_decides(
    enforcing: TestClient,
    certificate: str,
    clock: Clock,
    run: Run,
    engine: sa.Engine,
    stored_keys: StoredKeys,
) -> None:
    put(enforcing, certificate, future())
    other = put(enforcing, certificate, future(start=6 * DAY)).json
    assert other["pending"]["activate_at"] == at(clock.now + 6 * DAY)
    assert versions(enforcing, certificate) == [(2, False), (1, True)]

    now = put(enforcing, certificate, public()).json
    assert (now["version"], now["pending"]) == (2, None)
    assert len(stored_keys()) == len(dump(engine)["private_keys"]) == 2
    clock.now += 6 * DAY
    assert (run(), enforcing.simulate_get(certificate).json["version"]) == (0, 2)


def test_a_version_that_is_active_already_cannot_be_scheduled(
    enforcing: TestClient, owner: int, clock: Clock
) -> None:
    sent = public()
    path = store(enforcing, owner, sent, active=True)
    answer = put(enforcing, path, sent, activate_at=at(clock.now + DAY))

    assert refusal(answer) == (409, "conflict", {"activate_at": "already_active"})
    assert put(enforcing, path, sent).status_code == 200


def test_what_waits_can_be_canceled(
    enforcing: TestClient, owner: int, certificate: str, clock: Clock, run: Run, engine: sa.Engine
) -> None:
    unscheduled = listed(enforcing.simulate_get(certificate).json)
    tag = put(enforcing, certificate, future()).headers["ETag"]
    pending = f"{certificate}/pending"
    stale = enforcing.simulate_delete(pending, headers={"If-Match": '"0"'})
    assert refusal(stale)[0] == 412
    answer = enforcing.simulate_delete(pending, headers={"If-Match": tag})

    assert (answer.status_code, answer.content) == (204, b"")
    assert refusal(enforcing.simulate_delete(pending)) == (404, "not-found", {})
    assert listed(enforcing.simulate_get(certificate).json) == unscheduled
    assert enforcing.simulate_get(f"/users/{owner}/certificates").json == [unscheduled]
    assert (len(dump(engine)["private_keys"]), dump(engine)["certificate_versions"]) == (1, [])
    scheduled = store(enforcing, owner, public(), activate_at=at(clock.now + DAY))
    assert enforcing.simulate_delete(f"{scheduled}/pending").status_code == 204
    clock.now += 6 * DAY
    assert (run(), enforcing.simulate_get(scheduled).json["active"]) == (0, False)
    assert [kind for kind, _ in events(engine)].count("schedule_canceled") == 2


def test_a_strangers_schedule_is_not_there(
    enforcing: TestClient, closed: TestClient, stranger: int, certificate: str, engine: sa.Engine
) -> None:
    put(enforcing, certificate, future())
    before = dump(engine)
    token = make_token(engine, "user", user_id=stranger)
    answer = closed.simulate_delete(f"{certificate}/pending", headers=bearer(token))
    assert (answer.status_code, dump(engine)["certificates"]) == (404, before["certificates"])


def test_a_rollback_leaves_what_waits(
    enforcing: TestClient, certificate: str, clock: Clock, run: Run, stored_keys: StoredKeys
) -> None:
    put(enforcing, certificate, public(end=40 * DAY))
    pending = put(enforcing, certificate, future()).json["pending"]
    answer = enforcing.simulate_post(f"{certificate}/rollback", json={"version": 1})

    assert answer.status_code == 200, answer.text
    assert (answer.json["version"], answer.json["pending"]) == (3, {**pending, "version": 4})
    assert list(stored_keys()) == [(id_of(certificate), number) for number in (1, 2, 3, 4)]
    waiting = enforcing.simulate_post(f"{certificate}/rollback", json={"version": 4})
    assert refusal(waiting)[0] == 404
    clock.now += 5 * DAY
    assert run() == 1
    now = enforcing.simulate_get(certificate).json
    assert (now["version"], now["fingerprint_sha256"]) == (4, pending["fingerprint_sha256"])
    assert list(stored_keys().values()) == [key_der(WWW)] * 4


def test_a_rollback_brings_back_no_name_that_the_cutover_would_take_away(
    enforcing: TestClient, owner: int
) -> None:
    path = store(enforcing, owner, public(WWW, hostnames=[WWW, SHOP]), active=True)
    put(enforcing, path, public(), **ALLOWED)
    put(enforcing, path, future())
    back = f"{path}/rollback"
    answer = enforcing.simulate_post(back, json={"version": 1})
    assert refusal(answer) == (409, "conflict", {"version": "hostnames_lost"})
    assert enforcing.simulate_post(back, json={"version": 1, **ALLOWED}).status_code == 200


def test_a_rollback_leaves_no_time_without_before_the_cutover(
    enforcing: TestClient, owner: int, engine: sa.Engine
) -> None:
    path = store(enforcing, owner, public(end=3 * DAY), active=True)
    put(enforcing, path, public(end=30 * DAY))
    put(enforcing, path, future())
    back = f"{path}/rollback"
    before = dump(engine)
    answer = enforcing.simulate_post(back, json={"version": 1})
    assert refusal(answer)[0] == 409
    assert refusal(answer)[2]["version"] == "present_expires_first"
    assert dump(engine) == before
    assert enforcing.simulate_post(back, json={"version": 1, **ALLOWED}).status_code == 200


def test_only_the_last_five_are_kept_and_the_one_that_waits(
    enforcing: TestClient, certificate: str, engine: sa.Engine, clock: Clock, run: Run
) -> None:
    for _ in range(5):
        put(enforcing, certificate, public())
    put(enforcing, certificate, future())
    assert [one for one, _ in versions(enforcing, certificate)] == [7, 6, 5, 4, 3, 2]
    clock.now += 5 * DAY
    run()
    assert [one for one, _ in versions(enforcing, certificate)] == [7, 6, 5, 4, 3]
    assert len(dump(engine)["private_keys"]) == 5


def test_one_that_is_deactivated_meanwhile_takes_over_unserved(
    enforcing: TestClient, certificate: str, clock: Clock, run: Run
) -> None:
    put(enforcing, certificate, future())
    enforcing.simulate_patch(f"{certificate}/active", json={"active": False})
    clock.now += 5 * DAY
    assert run() == 1
    now = enforcing.simulate_get(certificate).json
    assert (now["version"], now["active"], now["pending"]) == (2, False, None)


@pytest.mark.parametrize("way", ["replaced", "activated"])
def test_a_hostname_that_is_anothers_by_then_stops_the_cutover(
    enforcing: TestClient,
    owner: int,
    stranger: int,
    certificate: str,
    clock: Clock,
    run: Run,
    engine: sa.Engine,
    way: str,
) -> None:
    both = future(WWW, hostnames=[WWW, SHOP])
    if way == "replaced":
        path, left = certificate, True
        put(enforcing, path, both)
    else:
        path, left = store(enforcing, owner, both, activate_at=at(clock.now + 5 * DAY)), False
    store(enforcing, stranger, public(SHOP), active=True)
    reader = Reader(enforcing, engine)
    reader.read()
    clock.now += 5 * DAY
    assert (run(), run()) == (0, 0)

    now = enforcing.simulate_get(path).json
    assert (now["version"], now["active"], now["pending"]) == (1, left, None)
    (why,) = [one for one in now["findings"] if one["code"] == "cutover_failed"]
    assert SHOP in why["detail"]
    assert f"Version {2 if left else 1} " in why["detail"]
    assert served(enforcing) == [(id_of(certificate), 1)]
    assert reader.read() == []
    assert events(engine)[-1] == ("cutover_failed", 2 if left else 1)
    assert len(enforcing.simulate_get(f"{path}/versions").json) == 1
    with engine.connect() as connection:
        refused = sa.select(AuditEntry.action).where(AuditEntry.outcome == "refused")
        assert connection.execute(refused).scalars().all() == ["certificate.cut_over"]


def test_a_hostname_that_is_anothers_already_is_refused_at_once(
    enforcing: TestClient,
    owner: int,
    stranger: int,
    certificate: str,
    clock: Clock,
    engine: sa.Engine,
) -> None:
    store(enforcing, stranger, public(SHOP), active=True)
    inactive = store(enforcing, owner, public())
    before = dump(engine)
    both = future(WWW, hostnames=[WWW, SHOP])
    sent = {**both, "activate_at": at(clock.now + 6 * DAY)}
    for answer in (
        put(enforcing, certificate, both),
        put(enforcing, inactive, sent),
        enforcing.simulate_post(f"/users/{owner}/certificates", json=sent),
    ):
        assert refusal(answer) == (409, "conflict", {"activate_at": "hostname_taken"})
    assert dump(engine) == before


def test_one_that_has_expired_when_a_late_worker_comes_does_not_take_over(
    enforcing: TestClient, certificate: str, clock: Clock, run: Run
) -> None:
    put(enforcing, certificate, future(end=6 * DAY))
    clock.now += 7 * DAY
    assert (run(), served(enforcing)) == (0, [(id_of(certificate), 1)])
    now = enforcing.simulate_get(certificate).json
    assert {"cutover_failed"} <= codes(now["findings"])


def test_of_several_that_failed_the_last_one_is_told(
    enforcing: TestClient, certificate: str, clock: Clock, run: Run
) -> None:
    begin = clock.now
    for days in (6, 12):
        put(enforcing, certificate, future(start=(days - 1) * DAY, end=days * DAY))
        clock.now = begin + (days + 1) * DAY
        assert run() == 0
    findings = enforcing.simulate_get(certificate).json["findings"]
    (why,) = [one for one in findings if one["code"] == "cutover_failed"]
    assert f"expired on {begin + 12 * DAY:%Y-%m-%d}" in why["detail"]


def test_whoever_has_many_keeps_nobody_waiting(
    enforcing: TestClient, owner: int, stranger: int, clock: Clock, database: Database
) -> None:
    upload, others = public(), public(SHOP)
    for _ in range(12):
        store(enforcing, owner, upload, activate_at=at(clock.now + DAY))
    path = store(enforcing, stranger, others, activate_at=at(clock.now + 2 * DAY))
    clock.now += 2 * DAY
    seconds = count()

    def passing() -> datetime:
        return clock.now + timedelta(seconds=next(seconds))

    slow = Cutovers(
        database,
        hostnames_on(database, clock),
        Audit(database, clock),
        Events(database, clock),
        passing,
    )
    assert 1 < slow.run() < 13
    assert enforcing.simulate_get(path).json["active"]


@pytest.mark.both_backends
def test_two_workers_make_each_cutover_once(
    enforcing: TestClient, owner: int, clock: Clock, database: Database, engine: sa.Engine
) -> None:
    paths = [store(enforcing, owner, public(), active=True) for _ in range(6)]
    for path in paths:
        put(enforcing, path, future())
    clock.now += 5 * DAY
    workers = [cutovers_on(database, clock) for _ in range(3)]
    with ThreadPoolExecutor(3) as threads:
        made = list(threads.map(lambda one: one.run(), workers))

    assert sum(made) == 6
    assert [enforcing.simulate_get(path).json["version"] for path in paths] == [2] * 6
    assert [kind for kind, _ in events(engine)].count("replaced") == 6


class _Dies(Audit):
    """Its worker dies before the last statement of a transaction."""

    def record(self, *_: Any, **__: Any) -> None:
        raise RuntimeError("killed")


@pytest.mark.both_backends
def test_a_worker_that_dies_in_between_has_done_nothing(
    enforcing: TestClient,
    certificate: str,
    clock: Clock,
    database: Database,
    engine: sa.Engine,
    run: Run,
) -> None:
    put(enforcing, certificate, future())
    other = store(
        enforcing, int(certificate.split("/")[2]), public(), activate_at=at(clock.now + DAY)
    )
    clock.now += 5 * DAY
    before = dump(engine)
    dying = Cutovers(
        database,
        hostnames_on(database, clock),
        _Dies(database, clock),
        Events(database, clock),
        clock,
    )
    assert (dying.run(), dump(engine)) == (0, before)
    assert run() == 2
    assert [enforcing.simulate_get(one).json["pending"] for one in (certificate, other)] == [
        None
    ] * 2


def test_its_owner_is_not_told_that_it_ends_where_another_version_takes_over(
    enforcing: TestClient, owner: int, certificate: str
) -> None:
    path = f"/users/{owner}/expiring"

    def covered() -> list[bool]:
        return [
            one["covered"] for one in enforcing.simulate_get(path, params={"within": "60d"}).json
        ]

    assert covered() == [False]
    put(enforcing, certificate, future())
    assert covered() == [True]
    enforcing.simulate_delete(f"{certificate}/pending")
    assert covered() == [False]


@pytest.mark.both_backends
def test_the_index_finds_what_is_due(certificate: str, engine: sa.Engine) -> None:
    query = "SELECT id FROM certificates WHERE activate_at <= '2026-01-01'"
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            # It reads a table of few rows as a whole.
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            plan = connection.exec_driver_sql(f"EXPLAIN {query}").all()
        else:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}").all()
    assert "ix_certificates_activate_at" in str(plan)


# Changes that leave a served hostname without a certificate.


@pytest.fixture
def reported(reporting: TestClient, owner: int) -> str:
    """The path of the owner's certificate for two names, which a terminator serves."""
    path = store(reporting, owner, public(WWW, hostnames=[WWW, SHOP]), active=True)
    report(reporting, served=[item(reporting, path)])
    return path


def _delete(client: TestClient, path: str, allow: bool | None = None) -> Result:
    query = {} if allow is None else {"allow_lost_hostnames": str(allow).lower()}
    return client.simulate_delete(path, params=query)


def _deactivate(client: TestClient, path: str, allow: bool | None = None) -> Result:
    more = {} if allow is None else {"allow_lost_hostnames": allow}
    return client.simulate_patch(f"{path}/active", json={"active": False, **more})


WAYS = pytest.mark.parametrize("remove", [_delete, _deactivate])


@WAYS
def test_a_name_that_is_served_is_not_taken_away_unless_that_is_allowed(
    reporting: TestClient, reported: str, engine: sa.Engine, remove: Any
) -> None:
    before = dump(engine)
    for allow in (None, False):
        answer = remove(reporting, reported, allow)
        assert refusal(answer)[:2] == (409, "conflict")
        assert codes(answer.json["errors"]) == {"hostnames_lost"}
        named = [one["detail"].partition(" ")[0] for one in answer.json["errors"]]
        assert sorted(named) == [SHOP, WWW]
    assert dump(engine) == before
    assert remove(reporting, reported, True).status_code in (202, 204)


@WAYS
@pytest.mark.parametrize(
    ("other", "active", "lost"),
    [
        (public("*.example.com"), True, []),
        (public("*.example.com"), False, [SHOP, WWW]),
        (public(SHOP), True, [WWW]),
        (public("*.example.com", **EXPIRED), True, [SHOP, WWW]),
        (public("*.example.com", start=DAY), True, [SHOP, WWW]),
        ({**public("*.example.com"), "private_key": base64_of(b"none")}, True, [SHOP, WWW]),
    ],
)
def test_another_certificate_that_is_served_keeps_a_name(
    reporting: TestClient,
    owner: int,
    reported: str,
    remove: Any,
    other: dict[str, Any],
    active: bool,
    lost: list[str],
) -> None:
    store(reporting, owner, other, active=active)
    answer = remove(reporting, reported)
    errors = answer.json["errors"] if answer.status_code == 409 else []
    assert sorted(one["detail"].partition(" ")[0] for one in errors) == lost


@WAYS
def test_only_a_live_terminator_that_serves_it_counts(
    reporting: TestClient, owner: int, clock: Clock, remove: Any
) -> None:
    never = store(reporting, owner, public(), active=True)
    assert remove(reporting, never).status_code in (202, 204)

    dropped = store(reporting, owner, public(), active=True)
    report(reporting, served=[item(reporting, dropped)])
    report(reporting, dropped=[id_of(dropped)])
    assert remove(reporting, dropped).status_code in (202, 204)

    path = store(reporting, owner, public(), active=True)
    report(reporting, served=[item(reporting, path)])
    clock.now += timedelta(hours=24)
    assert remove(reporting, path).status_code == 409
    clock.now += timedelta(seconds=1)
    assert remove(reporting, path).status_code in (202, 204)


@pytest.mark.both_backends
def test_of_two_that_are_taken_away_at_once_one_stays(reporting: TestClient, owner: int) -> None:
    paths = [store(reporting, owner, public(), active=True) for _ in range(2)]
    report(reporting, served=[item(reporting, path) for path in paths])
    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(lambda path: _deactivate(reporting, path), paths))
    assert sorted(one.status_code for one in answers) == [202, 409]


def test_what_is_inactive_and_a_user_as_a_whole_go_without_asking(
    reporting: TestClient, owner: int, reported: str
) -> None:
    idle = store(reporting, owner, public())
    assert _deactivate(reporting, idle).status_code == 202
    assert _delete(reporting, idle).status_code == 204
    assert reporting.simulate_delete(f"/users/{owner}").status_code == 204


def test_what_is_allowed_must_be_said_clearly(reporting: TestClient, reported: str) -> None:
    answer = reporting.simulate_delete(reported, params={"allow_lost_hostnames": "yes"})
    assert refusal(answer) == (422, "invalid", {"allow_lost_hostnames": "invalid_parameter"})


def test_a_service_of_both_kinds_schedules_alike(apps: Apps, owner: int) -> None:
    path = store(apps.reporting, owner, public(), active=True)
    shown = put(apps.reporting, path, future()).json
    assert (shown["version"], shown["pending"]["version"]) == (1, 2)


def test_what_is_scheduled_goes_with_its_certificate(
    enforcing: TestClient, certificate: str, engine: sa.Engine, clock: Clock, run: Run
) -> None:
    put(enforcing, certificate, future())
    enforcing.simulate_delete(certificate)
    assert not any(dump(engine)[name] for name in ("private_keys", "certificate_versions"))
    clock.now += 5 * DAY
    assert run() == 0
    with engine.connect() as connection:
        assert connection.execute(sa.select(Certificate.id)).all() == []
