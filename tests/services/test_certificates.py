"""How often the database is asked, and how long a page is."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from customer_certificates.config import LEAST_PASSWORD_COST
from customer_certificates.errors import NotFound, PreconditionFailed
from customer_certificates.gateways import postgresql, sqlite
from customer_certificates.gateways.cache import Pages
from customer_certificates.gateways.database import Database
from customer_certificates.gateways.metrics import Metrics
from customer_certificates.services.certificates import (
    Activation,
    CertificateFilter,
    Certificates,
    CertificateUpload,
)
from customer_certificates.services.passwords import Passwords
from customer_certificates.services.users import NewUser, UserChanges, Users
from customer_certificates.services.views import Tags

from ..tables import NOW, add_certificates, add_users, dump

ALL = CertificateFilter(active=None, after=0, limit=100)
NONE = Tags()
MIB = 2**20
Counter = Callable[[Callable[[], Any]], list[str]]


@pytest.fixture
def certificates(database: Database) -> Certificates:
    return Certificates(database, Pages(None, Metrics(None)), lambda: NOW)


@pytest.fixture
def users(database: Database) -> Iterator[Users]:
    passwords = Passwords(LEAST_PASSWORD_COST, Metrics(None), waiting=2)
    yield Users(database, passwords, lambda: NOW)
    passwords.close()


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Counter:
    """Does something, and gives the SQL of all that the database was asked meanwhile."""
    asked: list[str] = []
    for driver in (postgresql, sqlite):
        run = driver.Runner.run

        def told(
            self: Any, name: str, sql: str, parameters: list[Any], run: Any = run
        ) -> list[tuple[Any, ...]]:
            asked.append(sql)
            rows: list[tuple[Any, ...]] = run(self, name, sql, parameters)
            return rows

        monkeypatch.setattr(driver.Runner, "run", told)

    together = postgresql.Runner.run_together

    def told_together(self: Any, sent: list[tuple[str, str, list[Any]]]) -> Any:
        asked.extend(sql for _name, sql, _parameters in sent)
        return together(self, sent)

    monkeypatch.setattr(postgresql.Runner, "run_together", told_together)

    @contextmanager
    def listening() -> Iterator[None]:
        def told(_c: Any, _cursor: Any, sql: str, *_: Any) -> None:
            if not sql.startswith("BEGIN"):
                asked.append(sql)

        sa.event.listen(sa.Engine, "before_cursor_execute", told)
        yield
        sa.event.remove(sa.Engine, "before_cursor_execute", told)

    def during(work: Callable[[], Any]) -> list[str]:
        asked.clear()
        with listening():
            work()
        return list(asked)

    return during


def ids(certificates: Certificates, user_id: int, wanted: CertificateFilter) -> list[int]:
    _tag, page = certificates.page(user_id, wanted, NONE)
    assert page is not None
    return [item["id"] for item in json.loads(page.body)]


def pages(certificates: Certificates, user_id: int, wanted: CertificateFilter) -> list[list[int]]:
    """The ids on each page, from the first to the last."""
    found = []
    after: int | None = 0
    while after is not None:
        _tag, page = certificates.page(user_id, wanted._replace(after=after), NONE)
        assert page is not None
        found.append([item["id"] for item in json.loads(page.body)])
        after = page.next_after
    return found


def an_upload(**changes: Any) -> CertificateUpload:
    return CertificateUpload(**{"private_key": b"key", "body": "PEM", **changes})


def test_a_warm_list_costs_one_statement(
    certificates: Certificates, engine: sa.Engine, statements: Counter
) -> None:
    (owner,) = add_users(engine, 1)
    add_certificates(engine, owner, 100)

    assert len(statements(lambda: certificates.page(owner, ALL, NONE))) == 2
    for _ in range(3):
        assert len(statements(lambda: certificates.page(owner, ALL, NONE))) == 1
    tag, _page = certificates.page(owner, ALL, NONE)
    assert len(statements(lambda: certificates.page(owner, ALL, Tags([tag])))) == 1


@pytest.mark.parametrize("number", [1, 50])
def test_no_use_case_asks_once_for_each_row(
    certificates: Certificates, users: Users, engine: sa.Engine, statements: Counter, number: int
) -> None:
    """The counts are the same with one certificate and with many."""
    (owner,) = add_users(engine, 1)
    some = add_certificates(engine, owner, number)
    first = some[0]
    email = users.get(owner).email
    again = CertificateFilter(active=True, after=0, limit=1000)
    costs = {
        "show": lambda: certificates.get(owner, first),
        "list": lambda: certificates.page(owner, ALL, NONE),
        "list active": lambda: certificates.page(owner, again, NONE),
        "upload": lambda: certificates.upload(owner, an_upload(), None),
        "activate": lambda: certificates.set_active(owner, first, Activation(False), None),
        "activate again": lambda: certificates.set_active(owner, first, Activation(False), None),
        "delete": lambda: certificates.delete(owner, first, None),
        "show user": lambda: users.get(owner),
        "list users": lambda: users.page(None, 0, 1000),
        "find user": lambda: users.page(email, 0, 1000),
        "change user": lambda: users.change(owner, UserChanges(name="Ada"), None),
        "register": lambda: users.register(NewUser("Ada", "ada@example.com", "x")),
        "sign in": lambda: users.sign_in("ada@example.com", "x"),
        "delete user": lambda: users.delete(owner, None),
    }

    assert {name: len(statements(work)) for name, work in costs.items()} == {
        "show": 1,
        "list": 2,
        "list active": 2,
        "upload": 2,
        "activate": 4,
        "activate again": 2,
        "delete": 4,
        "show user": 1,
        "list users": 1,
        "find user": 1,
        "change user": 2,
        "register": 1,
        "sign in": 1,
        "delete user": 2,
    }


def test_uploads_go_on_after_refused_requests(
    certificates: Certificates, engine: sa.Engine
) -> None:
    """What a driver prepares by itself, and drops when a transaction is rolled back, is its own."""
    (owner,) = add_users(engine, 1)
    first = certificates.upload(owner, an_upload(), None)
    for active in [True, False] * 5:
        certificates.set_active(owner, first, Activation(active), None)
    for _ in range(4):
        with pytest.raises(NotFound):
            certificates.delete(owner, first + 1000, None)

    for _ in range(4):
        certificates.upload(owner, an_upload(), None)
    assert len(ids(certificates, owner, ALL)) == 5


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], [0]),
        ([1], [1]),
        ([1] * 7, [7]),
        ([4 * MIB], [1]),
        ([4 * MIB - 1, 1, 1], [2, 1]),
        ([4 * MIB - 2, 1, 1, 1], [3, 1]),
        ([4 * MIB, 1], [1, 1]),
        ([4 * MIB + 1, 4 * MIB + 1, 1], [1, 1, 1]),
        ([1, 4 * MIB, 1], [2, 1]),
        ([MIB] * 9, [4, 4, 1]),
        ([MIB] * 8, [4, 4]),
        ([3 * MIB, 2 * MIB, 1, MIB, 3 * MIB, 1, 1], [2, 3, 2]),
    ],
)
def test_a_page_ends_early_where_its_bodies_are_large(
    certificates: Certificates, engine: sa.Engine, sizes: list[int], expected: list[int]
) -> None:
    """With the body that brings them to 4 MiB; nothing is lost by that."""
    (owner,) = add_users(engine, 1)
    added = [add_certificates(engine, owner, 1, body="x" * size)[0] for size in sizes]
    found = pages(certificates, owner, ALL)

    assert [len(page) for page in found] == expected
    assert [certificate_id for page in found for certificate_id in page] == added


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 8])
def test_a_page_ends_at_its_limit_or_its_size_whichever_comes_first(
    certificates: Certificates, engine: sa.Engine, limit: int
) -> None:
    (owner,) = add_users(engine, 1)
    added = []
    for size in (1, 3 * MIB, 3 * MIB, 1, 1, 1, 2 * MIB, 1):
        added += add_certificates(engine, owner, 1, body="x" * size)
        add_certificates(engine, owner, 1, body="x" * MIB, active=False)
    found = pages(certificates, owner, CertificateFilter(active=True, after=0, limit=limit))

    assert [certificate_id for page in found for certificate_id in page] == added
    assert all(1 <= len(page) <= limit for page in found)


def test_a_large_page_is_not_kept_and_right_each_time(
    certificates: Certificates, engine: sa.Engine, statements: Counter
) -> None:
    (owner,) = add_users(engine, 1)
    added = add_certificates(engine, owner, 3, body="x" * MIB)

    for _ in range(2):
        assert len(statements(lambda: certificates.page(owner, ALL, NONE))) == 2
    assert ids(certificates, owner, ALL) == added


def test_a_list_is_new_after_each_write(certificates: Certificates, engine: sa.Engine) -> None:
    owner, stranger = add_users(engine, 2)
    strangers_tag, _ = certificates.page(stranger, ALL, NONE)
    tags = [certificates.page(owner, ALL, NONE)[0]]
    first = certificates.upload(owner, an_upload(), None)
    tags.append(certificates.page(owner, ALL, NONE)[0])
    assert ids(certificates, owner, ALL) == [first]
    certificates.set_active(owner, first, Activation(True), None)
    tags.append(certificates.page(owner, ALL, NONE)[0])
    certificates.delete(owner, first, None)
    tags.append(certificates.page(owner, ALL, NONE)[0])

    assert ids(certificates, owner, ALL) == []
    assert len(set(tags)) == 4
    assert certificates.page(stranger, ALL, NONE)[0] == strangers_tag


def test_a_refused_write_changes_nothing(certificates: Certificates, engine: sa.Engine) -> None:
    owner, stranger = add_users(engine, 2)
    (first,) = add_certificates(engine, owner, 1)
    before = dump(engine)
    other = Tags(["other"])

    with pytest.raises(PreconditionFailed):
        certificates.upload(owner, an_upload(), other)
    with pytest.raises(PreconditionFailed):
        certificates.set_active(owner, first, Activation(False), other)
    with pytest.raises(PreconditionFailed):
        certificates.delete(owner, first, other)
    with pytest.raises(NotFound):
        certificates.upload(stranger + 1000, an_upload(), None)
    with pytest.raises(NotFound):
        certificates.set_active(stranger, first, Activation(False), None)
    with pytest.raises(NotFound):
        certificates.delete(stranger, first, None)
    assert dump(engine) == before


def test_no_id_is_used_twice(certificates: Certificates, engine: sa.Engine) -> None:
    (owner,) = add_users(engine, 1)
    used: list[int] = []
    for _ in range(5):
        used.append(certificates.upload(owner, an_upload(), None))
        certificates.delete(owner, used[-1], None)

    assert used == sorted(set(used))


@pytest.mark.parametrize("active", [True, False, None])
def test_a_list_is_read_by_an_index(
    certificates: Certificates, engine: sa.Engine, statements: Counter, active: bool | None
) -> None:
    """On SQLite; on PostgreSQL a plan depends on how much there is: `make bench` shows it."""
    (owner,) = add_users(engine, 1)
    wanted = CertificateFilter(active=active, after=0, limit=100)
    _revision, page = statements(lambda: certificates.page(owner, wanted, NONE))
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            plan = connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {page}", tuple([1] * page.count("?"))
            ).all()
        index = "ix_certificates_user_id_id" + ("_active" if active else "")
        assert any(f"USING INDEX {index} " in step[3] for step in plan), plan
