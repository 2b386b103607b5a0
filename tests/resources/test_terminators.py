"""Certificates with their keys: to Caddy by name, to Traefik all of them; to nobody else."""

import json
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from falcon.testing import Result, TestClient

from customer_certificates.app import Application, create_app
from customer_certificates.models import AuditEntry, PrivateKey
from customer_certificates.services.certificates.candidates import Candidates, Servable

from ..applications import Clock
from ..conftest import Backend
from ..credentials import bearer, make_token
from ..pki import authority
from ..pki.authority import a_leaf
from . import an_upload_of, base64_of, der_of, key_der, pem, refusal, self_signed, store
from .test_resolver import DAY, WWW, add, public, rsa

pytestmark = pytest.mark.one_backend

CADDY, ASK, TRAEFIK = "/terminators/caddy", "/terminators/caddy/ask", "/terminators/traefik"
LONG = {"end": 9000 * DAY}
MODERN = {"signature_schemes": "403,804,401", "cipher_suites": "1301,1302,c02b"}
ONLY_RSA = {"signature_schemes": "804,401", "cipher_suites": "1301,c02f"}
OLD = {"cipher_suites": "c02f,9c"}


def handed(answer: Result) -> tuple[list[x509.Certificate], bytes]:
    """The chain and the key (PKCS#8) of a bundle."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/x-pem-file"
    assert answer.headers["Cache-Control"] == "no-store"
    key = load_pem_private_key(answer.content, None)
    return x509.load_pem_x509_certificates(answer.content), der_of(key)


def asked(client: TestClient, name: str = WWW, **more: Any) -> Result:
    headers = more.pop("headers", {})
    return client.simulate_get(CADDY, params={"server_name": name, **more}, headers=headers)


def is_silent(answer: Result) -> bool:
    return (answer.status_code, answer.content) == (204, b"")


def reads(engine: sa.Engine) -> list[tuple[int, str | None, dict[str, Any]]]:
    """The audit entries about keys that were read: chain, path, detail."""
    with engine.connect() as connection:
        rows = connection.execute(
            sa.select(AuditEntry.chain, AuditEntry.object, AuditEntry.detail)
            .where(AuditEntry.action == "key.read")
            .order_by(AuditEntry.chain, AuditEntry.seq)
        )
        return [(chain, path, json.loads(detail)) for chain, path, detail in rows]


def test_caddy_is_given_the_chain_and_its_key(reporting: TestClient, owner: int) -> None:
    middle = authority.an_authority("Middle", "Root")
    leaf = a_leaf("Middle", WWW)
    add(reporting, owner, an_upload_of(leaf, middle))

    assert handed(asked(reporting, **MODERN)) == ([leaf, middle], key_der(WWW))


@pytest.mark.parametrize(
    ("certified", "name"),
    [
        ("*.tumb.example.com", "x-.tumb.example.com"),
        ("x-.example.com", "x-.example.com"),
        ("-x.example.com", "-x.example.com"),
        ("*.x-.y-.example.com", "a.x-.y-.example.com"),
    ],
)
def test_a_label_may_begin_or_end_with_a_hyphen(
    reporting: TestClient, owner: int, certified: str, name: str
) -> None:
    path = store(reporting, owner, an_upload_of(a_leaf("Root", certified)), active=True)

    assert handed(asked(reporting, name))[1] == key_der(certified)
    assert reporting.simulate_get(ASK, params={"domain": name}).status_code == 200
    resolved = reporting.simulate_get("/resolve", params={"hostname": name})
    assert resolved.status_code == 200
    listed = reporting.simulate_get(path.rpartition("/")[0], params={"hostname": name})
    assert [one["hostnames"] for one in listed.json] == [[certified]]


def test_a_chain_without_a_last_line_end_is_not_glued_to_its_key(
    reporting: TestClient, owner: int
) -> None:
    upload = self_signed(WWW)
    add(reporting, owner, {**upload, "body": upload["body"].rstrip()})

    assert len(handed(asked(reporting))[0]) == 1


@pytest.mark.parametrize(
    ("hello", "is_rsa"), [(MODERN, False), (ONLY_RSA, True), (OLD, True), ({}, False)]
)
def test_the_kind_of_key_is_one_that_the_client_takes(
    reporting: TestClient, owner: int, hello: dict[str, str], is_rsa: bool
) -> None:
    key = authority.rsa_key()
    rsa = an_upload_of(a_leaf("Root", WWW, key=key), private_key=base64_of(der_of(key)))
    add(reporting, owner, rsa)
    add(reporting, owner, public())

    expected = der_of(key) if is_rsa else key_der(WWW)
    assert handed(asked(reporting, **hello))[1] == expected


def test_who_takes_none_of_the_kinds_is_given_what_there_is(
    reporting: TestClient, owner: int
) -> None:
    add(reporting, owner, public())

    assert handed(asked(reporting, **ONLY_RSA))[1] == key_der(WWW)


@pytest.mark.both_backends
def test_a_renewal_is_served_at_once(reporting: TestClient, owner: int) -> None:
    first, second = a_leaf("Root", WWW), a_leaf("Root", WWW)
    path = store(reporting, owner, an_upload_of(first), active=True)
    assert handed(asked(reporting))[0] == [first]

    assert reporting.simulate_put(path, json=an_upload_of(second)).status_code == 200
    assert handed(asked(reporting))[0] == [second]


def test_what_is_not_to_be_served_is_not_ours(
    reporting: TestClient, owner: int, engine: sa.Engine, clock: Clock
) -> None:
    assert is_silent(asked(reporting))
    path = store(reporting, owner, public(end=2 * DAY))
    assert is_silent(asked(reporting))
    reporting.simulate_patch(f"{path}/active", json={"active": True})
    handed(asked(reporting))
    clock.now += 3 * DAY
    assert is_silent(asked(reporting))
    clock.now = authority.NOW
    handed(asked(reporting))
    reporting.simulate_patch(f"{path}/active", json={"active": False})
    assert is_silent(asked(reporting))
    reporting.simulate_patch(f"{path}/active", json={"active": True})
    reporting.simulate_delete(path)
    assert is_silent(asked(reporting))


@pytest.mark.parametrize(
    "fault",
    [
        {"body": "no certificate"},
        {"private_key": base64_of(b"garbage")},
        {"private_key": base64_of(key_der("another"))},
    ],
)
def test_what_is_opaque_or_without_its_key_is_never_handed_out(
    reporting: TestClient, owner: int, engine: sa.Engine, fault: dict[str, str]
) -> None:
    add(reporting, owner, public(), **fault)

    assert is_silent(asked(reporting))
    assert reporting.simulate_get(TRAEFIK).json == {"tls": {"certificates": []}}
    assert reads(engine) == []


@pytest.mark.both_backends
def test_a_key_that_was_tampered_with_is_not_handed_out(
    reporting: TestClient, owner: int, engine: sa.Engine
) -> None:
    add(reporting, owner, public())
    with engine.begin() as connection:
        connection.execute(sa.update(PrivateKey).values(sealed=b"CCK1" + bytes(100)))

    assert is_silent(asked(reporting))
    assert reads(engine) == []


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "a" * 300, "a." * 200, "-", "a b", "*", "*.example.com", "%00", "\x00"),
        *("192.0.2.1", "[2001:db8::1]", "2001:db8::1", "::1", "1.2", "😀" * 60, "\u202e", "xn--"),
    ],
)
def test_a_name_that_is_none_is_not_ours(reporting: TestClient, owner: int, name: str) -> None:
    add(reporting, owner, public("*.example.com"))

    assert is_silent(asked(reporting, name))


@pytest.mark.parametrize(
    "query",
    [
        "",
        "server_name",
        "server_name=a.example.com&server_name=b.example.com",
        "server_name=%ff%fe",
        "server_name=%ed%a0%80",
        "server_name=%",
        "server_name=www.example.net&signature_schemes=zz&cipher_suites=,,-1,99999999999999999999",
    ],
)
def test_no_query_is_refused(reporting: TestClient, owner: int, query: str) -> None:
    assert is_silent(reporting.simulate_get(CADDY, query_string=query))


@pytest.mark.parametrize(
    "name", ["WWW.EXAMPLE.COM", "www.example.com.", "ＷＷＷ.example.com", "wWw.eXample.com"]
)
def test_a_name_may_be_written_in_many_ways(reporting: TestClient, owner: int, name: str) -> None:
    add(reporting, owner, public())

    assert handed(asked(reporting, name))


@pytest.mark.both_backends
def test_of_very_many_for_one_name_the_winner_is_served(reporting: TestClient, owner: int) -> None:
    ends = [20, 30, 70, 10, 40, 60, 50, 25, 35, 45]
    leaves = {days: a_leaf("Root", WWW, end=days * DAY) for days in ends}
    for leaf in leaves.values():
        add(reporting, owner, an_upload_of(leaf))

    assert handed(asked(reporting))[0] == [leaves[70]]


def test_caddy_learns_whether_a_name_is_ours(
    reporting: TestClient, owner: int, clock: Clock
) -> None:
    add(reporting, owner, public("*.example.com", end=2 * DAY))

    answer = reporting.simulate_get(ASK, params={"domain": "Shop.example.com"})
    assert (answer.status_code, answer.json) == (200, {"domain": "shop.example.com"})
    for name in ("example.com", "a.b.example.com", "www.example.org"):
        assert refusal(reporting.simulate_get(ASK, params={"domain": name}))[0] == 404
    for query in ({"domain": ""}, {"domain": "a" * 300}):
        answer = reporting.simulate_get(ASK, params=query)
        assert refusal(answer) == (422, "invalid", {"domain": "invalid_parameter"})
    assert refusal(reporting.simulate_get(ASK)) == (422, "invalid", {"domain": "required"})
    clock.now += 3 * DAY
    assert refusal(reporting.simulate_get(ASK, params={"domain": "a.example.com"}))[0] == 404


@pytest.mark.both_backends
def test_that_a_key_was_read_is_recorded_once_an_hour(
    reporting: TestClient, owner: int, stranger: int, engine: sa.Engine, clock: Clock
) -> None:
    """For each terminator: here there is one, by its address."""
    path = store(reporting, owner, public(), active=True)
    foreign = store(reporting, stranger, public("www.example.org"), active=True)
    certificate_id, foreign_id = (int(one.rpartition("/")[2]) for one in (path, foreign))

    def entry(version: int, minutes: int) -> tuple[int, str, dict[str, Any]]:
        until = authority.NOW + timedelta(hours=1, minutes=minutes)
        keys = [[certificate_id, version]]
        return (
            owner,
            path,
            {"channel": "caddy", "keys": keys, "until": f"{until:%Y-%m-%dT%H:%M:%S.000000Z}"},
        )

    for _ in range(3):
        handed(asked(reporting))
    assert reads(engine) == [entry(1, 0)]

    clock.now += timedelta(minutes=59)
    handed(asked(reporting))
    reporting.simulate_put(path, json=public())
    handed(asked(reporting))
    assert reads(engine) == [entry(1, 0), entry(2, 59)]

    clock.now += timedelta(minutes=60)
    handed(asked(reporting))
    assert reads(engine) == [entry(1, 0), entry(2, 59), entry(2, 119)]

    handed(asked(reporting, "www.example.org"))
    (chain, object_path, detail) = reads(engine)[-1]
    assert (chain, object_path, detail["keys"]) == (stranger, foreign, [[foreign_id, 1]])


def test_where_it_cannot_be_recorded_no_key_is_handed_out(
    backend: Backend, reporting: TestClient, owner: int, engine: sa.Engine
) -> None:
    add(reporting, owner, public())
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE audit RENAME TO audit_gone"))
    try:
        answer = asked(reporting)
        whole = reporting.simulate_get(TRAEFIK)
    finally:
        with engine.begin() as connection:
            connection.execute(sa.text("ALTER TABLE audit_gone RENAME TO audit"))
    for refused in (answer, whole):
        assert refused.status_code >= 500
        assert b"PRIVATE KEY" not in refused.content


def test_traefik_is_given_what_is_served(reporting: TestClient, owner: int, stranger: int) -> None:
    first, second = a_leaf("Root", WWW), a_leaf("Root", "shop.example.org")
    add(reporting, owner, an_upload_of(first))
    add(reporting, owner, public(end=5 * DAY))
    add(reporting, owner, public(), active=False)
    add(reporting, stranger, an_upload_of(second))
    answer = reporting.simulate_get(TRAEFIK)

    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    pairs = answer.json["tls"]["certificates"]
    assert answer.json == {"tls": {"certificates": pairs}}
    assert [one["certFile"] for one in pairs] == [pem(first), pem(second)]
    keys = [load_pem_private_key(one["keyFile"].encode(), None) for one in pairs]
    assert [der_of(key) for key in keys] == [key_der(WWW), key_der("shop.example.org")]
    assert all(one.keys() == {"certFile", "keyFile"} for one in pairs)


@pytest.mark.both_backends
@pytest.mark.parametrize("change", ["replace", "delete", "replace all the time"])
def test_traefik_misses_nothing_that_changes_while_it_asks(
    reporting: TestClient, owner: int, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """One statement chooses certificates, another one reads them with their keys."""
    other, spare = a_leaf("Root", "shop.example.org"), a_leaf("Root", WWW, end=5 * DAY)
    for leaf in (other, spare):
        add(reporting, owner, an_upload_of(leaf))
    path = store(reporting, owner, public(), active=True)
    reads, renewed = list[list[int]](), list[x509.Certificate]()
    read = Candidates.with_keys

    def replace() -> None:
        renewed.append(a_leaf("Root", WWW))
        assert reporting.simulate_put(path, json=an_upload_of(renewed[-1])).status_code == 200

    def change_and_read(candidates: Candidates, certificate_ids: Iterable[int]) -> list[Servable]:
        reads.append([*certificate_ids])
        if change == "delete" and len(reads) == 1:
            assert reporting.simulate_delete(path).status_code == 204
        elif change == "replace all the time" or len(reads) == 1:
            replace()
        found = read(candidates, reads[-1])
        if change == "replace all the time":
            replace()
        return found

    monkeypatch.setattr(Candidates, "with_keys", change_and_read)
    pairs = reporting.simulate_get(TRAEFIK).json["tls"]["certificates"]

    served = {one["certFile"] for one in pairs}
    assert pem(other) in served
    served.remove(pem(other))
    # How many were read each time: nothing is read twice.
    numbers = [len(ids) for ids in reads]
    if change == "replace":
        assert (served, numbers) == ({pem(renewed[0])}, [2])
    elif change == "delete":
        assert (served, numbers) == ({pem(spare)}, [2, 1])
    else:
        # It does not hold up the other one.
        assert (served, numbers) == (set(), [2, 1, 1, 1, 1])


def test_traefiks_configuration_is_the_same_while_nothing_changes(
    reporting: TestClient, owner: int, engine: sa.Engine, clock: Clock
) -> None:
    path = store(reporting, owner, public(end=9 * DAY), active=True)
    add(reporting, owner, public("www.example.org", end=2 * DAY))
    first = reporting.simulate_get(TRAEFIK)
    assert reporting.simulate_get(TRAEFIK).content == first.content

    def again(tag: str) -> Result:
        return reporting.simulate_get(TRAEFIK, headers={"If-None-Match": tag})

    assert (again(first.headers["ETag"]).status_code, again(first.headers["ETag"]).content) == (
        304,
        b"",
    )
    # Nothing is said of what is not served.
    store(reporting, owner, public())
    assert again(first.headers["ETag"]).status_code == 304
    assert len(reads(engine)) == 1

    clock.now += 3 * DAY
    without = again(first.headers["ETag"])
    assert len(without.json["tls"]["certificates"]) == 1
    reporting.simulate_put(path, json=public())
    renewed = again(without.headers["ETag"])
    assert renewed.status_code == 200
    assert len({first.headers["ETag"], without.headers["ETag"], renewed.headers["ETag"]}) == 3


def test_terminators_are_served_what_their_tokens_say(
    reporting: TestClient, closed: TestClient, owner: int, stranger: int, engine: sa.Engine
) -> None:
    mine = public(WWW, hostnames=[WWW, "shop.example.com"], **LONG)
    add(reporting, owner, mine, grant_hostnames=True)
    add(reporting, stranger, public("*.example.com", **LONG), grant_hostnames=True)

    def served(**reach: Any) -> tuple[list[int], int]:
        headers = bearer(make_token(engine, "terminator", **reach))
        names = (WWW, "shop.example.com", "other.example.com", "www.example.org")
        statuses = [asked(closed, name, headers=headers).status_code for name in names]
        answer = closed.simulate_get(TRAEFIK, headers=headers)
        return statuses, len(answer.json["tls"]["certificates"])

    assert served() == ([200, 200, 200, 204], 2)
    assert served(user_ids=f"[{owner}]") == ([200, 200, 204, 204], 1)
    # Its wildcard is not for the other user's names.
    assert served(user_ids=f"[{stranger}]") == ([204, 204, 200, 204], 1)
    # Another is the best for that name alone.
    assert served(hostnames=f'["{WWW}"]') == ([200, 204, 204, 204], 1)
    assert served(hostnames='["other.example.com"]') == ([204, 204, 200, 204], 1)
    assert served(hostnames='["*.example.com"]') == ([200, 200, 200, 204], 2)
    assert served(hostnames='["www.example.org"]') == ([204, 204, 204, 204], 0)
    assert served(user_ids=f"[{owner}]", hostnames='["a.example.com"]') == ([204] * 4, 0)


def test_caddy_is_given_nobody_elses_certificate(
    reporting: TestClient, owner: int, stranger: int
) -> None:
    """Not for a key type that the owner has none of, nor when the owner's has expired."""
    add(reporting, stranger, public("*.example.com"), grant_hostnames=True)
    exact = add(reporting, owner, rsa(), grant_hostnames=True)
    chain, _ = handed(asked(reporting, **MODERN))
    assert chain[0].public_key().__class__.__name__ == "RSAPublicKey"

    path = f"/users/{owner}/certificates/{exact}"
    expired = {**rsa(start=-9 * DAY, end=-DAY), "allow_lost_hostnames": True}
    assert reporting.simulate_put(path, json=expired).status_code == 200
    assert is_silent(asked(reporting))
    assert reporting.simulate_get(ASK, params={"domain": WWW}).status_code == 404
    assert handed(asked(reporting, "shop.example.com"))[1] == key_der("*.example.com")


def test_an_operator_is_not_given_a_key(closed: TestClient, engine: sa.Engine) -> None:
    for path in (CADDY, ASK, TRAEFIK):
        headers = bearer(make_token(engine, "operator"))
        answer = closed.simulate_get(path, headers=headers)
        assert refusal(answer) == (403, "forbidden", {})
        assert "terminator" in answer.json["detail"]


def test_a_token_may_be_the_password_in_a_url(
    reporting: TestClient, closed: TestClient, owner: int, engine: sa.Engine
) -> None:
    """That is how Caddy, which can be told of no header, sends one all the same."""
    add(reporting, owner, self_signed(WWW, **LONG))
    token = make_token(engine, "terminator").text

    def basic(text: str) -> dict[str, str]:
        return {"Authorization": f"Basic {base64_of(text.encode())}"}

    assert handed(asked(closed, headers=basic(f"caddy:{token}")))
    assert asked(closed, headers=basic(f"caddy:{token[:-1]}")).status_code == 401
    assert asked(closed, headers=basic("owner@example.com:password")).status_code == 401
    assert closed.simulate_get(TRAEFIK, headers=basic(f"caddy:{token}")).status_code == 401


@pytest.fixture(scope="module")
def _lenient_app(backend: Backend) -> Iterator[Application]:
    app = create_app(backend.closed(CC_TERMINATOR_PEERS="10.1.2.0/24", CC_TOKEN_IN_PATH="true"))
    yield app
    app.close()


@pytest.fixture
def lenient(_lenient_app: Application, reporting: TestClient, owner: int) -> TestClient:
    """The application that knows Caddy by its address, or by a token in the path."""
    add(reporting, owner, self_signed(WWW, **LONG))
    return TestClient(_lenient_app)


@pytest.mark.parametrize(("peer", "status"), [("10.1.2.3", 200), ("10.1.3.4", 401)])
def test_caddy_may_be_known_by_its_address(lenient: TestClient, peer: str, status: int) -> None:
    def status_of(path: str, **headers: str) -> int:
        answer = lenient.simulate_get(
            path, params={"server_name": WWW, "domain": WWW}, remote_addr=peer, headers=headers
        )
        return answer.status_code

    assert [status_of(CADDY), status_of(ASK)] == [status, status]
    # It opens nothing else, and a token that is wrong is not made good by it.
    assert status_of(TRAEFIK) == 401
    assert status_of(CADDY, Authorization="Bearer wrong") == 401
    # Nor does it open anything to whom a proxy at that address passes on.
    for name in ("X-Forwarded-For", "X_Forwarded_For", "Forwarded", "Via"):
        assert status_of(CADDY, **{name: "10.1.2.3"}) == 401


def test_no_address_that_a_proxy_names_is_let_in_without_a_token(
    backend: Backend, reporting: TestClient, owner: int, engine: sa.Engine
) -> None:
    """Some proxies pass on X_Forwarded_For as the client sent it, which reads the same."""
    add(reporting, owner, self_signed(WWW, **LONG))
    app = create_app(
        backend.closed(CC_TERMINATOR_PEERS="10.1.2.0/24", CC_TRUSTED_PROXIES="10.9.0.1")
    )
    client = TestClient(app, headers={"X-Forwarded-Proto": "https"})
    for name in ("X-Forwarded-For", "X_Forwarded_For"):
        headers = {name: "10.1.2.3"}
        answer = client.simulate_get(
            CADDY, params={"server_name": WWW}, remote_addr="10.9.0.1", headers=headers
        )
        assert answer.status_code == 401
    app.close()


def test_a_token_in_the_path_is_off_by_default(
    lenient: TestClient, closed: TestClient, engine: sa.Engine
) -> None:
    token = make_token(engine, "terminator").text
    paths = [f"/terminators/{token}/caddy", f"/terminators/{token}/caddy/ask"]
    query = {"server_name": WWW, "domain": WWW}
    for path in paths:
        assert closed.simulate_get(path, params=query).status_code == 404

    assert [lenient.simulate_get(path, params=query).status_code for path in paths] == [200, 200]
    wrong = lenient.simulate_get(f"/terminators/{token[:-1]}/caddy", params=query)
    assert wrong.status_code == 401
    assert token[:-1] not in wrong.text
    operator = make_token(engine, "operator").text
    assert lenient.simulate_get(f"/terminators/{operator}/caddy", params=query).status_code == 403


def test_beyond_its_share_caddy_is_answered_204(
    backend: Backend, reporting: TestClient, owner: int, engine: sa.Engine
) -> None:
    """429 would end the handshakes of names that are not ours."""
    add(reporting, owner, self_signed(WWW, **LONG))
    app = create_app(backend.closed(CC_RATE_LIMIT="1", CC_WORKERS="1"))
    headers = bearer(make_token(engine, "terminator"))
    answers = [asked(TestClient(app), headers=headers) for _ in range(4)]
    other = TestClient(app).simulate_get(TRAEFIK, headers=headers)
    app.close()

    assert [one.status_code for one in answers] == [200, 200, 204, 204]
    assert answers[-1].headers["RateLimit"].startswith('"token";r=0')
    assert other.status_code == 429
