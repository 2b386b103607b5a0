"""How often the database is asked, and how long a page is."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec
import pytest
import sqlalchemy as sa

from customer_certificates.errors import NotFound, PreconditionFailed
from customer_certificates.gateways.cache.page_cache import PageCache
from customer_certificates.gateways.database import Database
from customer_certificates.gateways.master_keys import MasterKeys
from customer_certificates.gateways.metrics import Metrics
from customer_certificates.gateways.sandbox.pool import SandboxPool
from customer_certificates.models import CONTENT, NEVER
from customer_certificates.services.audit.log import Audit
from customer_certificates.services.certificates.intermediates import Intermediates
from customer_certificates.services.certificates.listing import CertificateFilter, Listing
from customer_certificates.services.certificates.parts import CertificateParts
from customer_certificates.services.certificates.requests import (
    Activation,
    CertificateCheck,
    CertificateMaterial,
    CertificateUpload,
    Replacement,
    Rollback,
)
from customer_certificates.services.certificates.service import Certificates
from customer_certificates.services.certificates.validation import Validation
from customer_certificates.services.certificates.versions.pending import pending_json
from customer_certificates.services.certificates.versions.service import Versions
from customer_certificates.services.etags import Tags
from customer_certificates.services.events.log import Events
from customer_certificates.services.keys.data_keys import DataKeys
from customer_certificates.services.keys.private_keys import PrivateKeys
from customer_certificates.services.revisions import Revisions
from customer_certificates.services.users.users import NewUser, UserChanges, UserFilter, Users

from ...ownership import hostnames_on
from ...pki import authority
from ...resources import base64_of, key_der, pem
from ...tables import NOW, PRINCIPAL, add_certificates, add_users, dump
from ..conftest import Counter

ALL = CertificateFilter(None, None, None, None, None, None, after=0, limit=100)
NONE = Tags()
MIB = 2**20
Submission = TypeVar("Submission", bound=CertificateMaterial)


@pytest.fixture
def revisions(database: Database) -> Revisions:
    return Revisions(database, lambda: NOW)


@pytest.fixture
def listing(database: Database, revisions: Revisions) -> Listing:
    return Listing(database, PageCache(None, Metrics(None)), revisions)


@pytest.fixture
def parts(
    database: Database, revisions: Revisions, children: SandboxPool, master_keys: MasterKeys
) -> Iterator[CertificateParts]:
    intermediates = Intermediates(database)
    validation = Validation(children, intermediates, lambda: NOW, Metrics(None), enforce=False)
    hostnames = hostnames_on(database, lambda: NOW)
    audit = Audit(database, lambda: NOW)
    data_keys = DataKeys(database, master_keys, lambda: NOW)
    private_keys = PrivateKeys(database)
    yield CertificateParts(
        database,
        validation,
        intermediates,
        hostnames,
        revisions,
        audit,
        Events(database, lambda: NOW),
        data_keys,
        private_keys,
        lambda: NOW,
    )
    data_keys.close()


@pytest.fixture
def certificates(parts: CertificateParts) -> Certificates:
    return Certificates(parts)


@pytest.fixture
def versions(parts: CertificateParts) -> Versions:
    return Versions(parts)


def ids(listing: Listing, user_id: int, wanted: CertificateFilter) -> list[int]:
    _tag, page = listing.page(PRINCIPAL, user_id, wanted, NONE)
    assert page is not None
    return [item["id"] for item in json.loads(page.body)]


def pages(listing: Listing, user_id: int, wanted: CertificateFilter) -> list[list[int]]:
    """The ids on each page, from the first to the last."""
    found = []
    after: int | None = 0
    while after is not None:
        _tag, page = listing.page(PRINCIPAL, user_id, wanted._replace(after=after), NONE)
        assert page is not None
        found.append([item["id"] for item in json.loads(page.body)])
        after = page.next_after
    return found


def an_upload(**changes: Any) -> CertificateUpload:
    fields: dict[str, Any] = {"private_key": "a2V5", "body": "PEM"}
    return CertificateUpload(**(fields | changes))


def sent(kind: type[Submission], *hostnames: str, **changes: Any) -> Submission:
    """An upload of a new certificate of a private CA."""
    leaf = authority.a_leaf("Issuing", "leaf", hostnames=hostnames)
    issuing = authority.an_authority("Issuing", "Private root")
    root = authority.an_authority("Private root", "Private root")
    return kind(body=pem(leaf, issuing, root), private_key=base64_of(key_der("leaf")), **changes)


def test_a_warm_list_costs_one_statement(
    listing: Listing, engine: sa.Engine, statements: Counter
) -> None:
    (owner,) = add_users(engine, 1)
    add_certificates(engine, owner, 100)

    assert len(statements(lambda: listing.page(PRINCIPAL, owner, ALL, NONE))) == 2
    for _ in range(3):
        assert len(statements(lambda: listing.page(PRINCIPAL, owner, ALL, NONE))) == 1
    tag, _page = listing.page(PRINCIPAL, owner, ALL, NONE)
    assert len(statements(lambda: listing.page(PRINCIPAL, owner, ALL, Tags([tag])))) == 1


@pytest.mark.parametrize("number", [1, 50])
def test_no_use_case_asks_once_for_each_row(
    certificates: Certificates,
    versions: Versions,
    listing: Listing,
    users: Users,
    engine: sa.Engine,
    count: Callable[[Callable[[], object]], int],
    number: int,
) -> None:
    """The counts are the same with one certificate and with many, with one hostname and with many;
    all writes but the first begin with the user's row, whose lock puts them in order."""
    (owner,) = add_users(engine, 1)
    add_certificates(engine, owner, number)
    names = [f"{place}.example.com" for place in range(number)]
    first = certificates.upload(PRINCIPAL, owner, sent(CertificateUpload, *names), None).id
    email = users.get(owner).email
    again = ALL._replace(active=True, limit=1000)
    named = ALL._replace(hostname=names[0], trust="private", status="active")
    costs = {
        "show": lambda: certificates.get(owner, first),
        "list": lambda: listing.page(PRINCIPAL, owner, ALL, NONE),
        "list active": lambda: listing.page(PRINCIPAL, owner, again, NONE),
        "find": lambda: listing.page(PRINCIPAL, owner, named, NONE),
        "check": lambda: certificates.check(
            PRINCIPAL, owner, sent(CertificateCheck, *names), first
        ),
        # Each write ends with three: the audit's chain is locked, an entry added, the chain's head
        # moved. Each event takes two: itself, and whom it is to be told to. The data key; the
        # revision, the same one, itself, its names, its intermediate, its key: on PostgreSQL in
        # three trips.
        "upload": lambda: certificates.upload(
            PRINCIPAL, owner, sent(CertificateUpload, *names), None
        ),
        # The same, the lock of its names, the claims there are, how many are unproven, the
        # claims, whether others of the user's certificates are served for them from now on.
        "upload active": lambda: certificates.upload(
            PRINCIPAL, owner, sent(CertificateUpload, *names, active=True), None
        ),
        # The user, it, its change, the lock of its names, the claims there are, the claims, the
        # revision.
        "activate": lambda: certificates.set_active(
            PRINCIPAL, owner, first, Activation(True), None
        ),
        "activate again": lambda: certificates.set_active(
            PRINCIPAL, owner, first, Activation(True), None
        ),
        # The data key, the user, it, its intermediate, what it was, what it is, its key, the oldest
        # of what it was and of its keys, its names off and on, their lock, those freed, the
        # claims there are, the revision; how much it takes before and after, and what the user
        # stores then.
        "replace": lambda: versions.replace(
            PRINCIPAL, owner, first, sent(Replacement, *names), None
        ),
        "show versions": lambda: versions.all(owner, first),
        # The same without an intermediate, and with the version that it goes back to and its key.
        "roll back": lambda: versions.roll_back(PRINCIPAL, owner, first, Rollback(1), None),
        # The user, it, whether it is served, its change, the lock of its names, those freed,
        # whether others cover them, the revision.
        "deactivate": lambda: certificates.set_active(
            PRINCIPAL, owner, first, Activation(False), None
        ),
        "delete": lambda: certificates.delete(PRINCIPAL, owner, first, None),
        "show user": lambda: users.get(owner),
        "list users": lambda: users.page(UserFilter(), 0, 1000),
        "find user": lambda: users.page(UserFilter(email), 0, 1000),
        "change user": lambda: users.change(PRINCIPAL, owner, UserChanges(name="Ada"), None),
        "register": lambda: users.register(PRINCIPAL, NewUser("Ada", "ada@example.com", "x")),
        "sign in": lambda: users.sign_in("ada@example.com", "x"),
        # Two of them end the user's contests; on PostgreSQL, two more set the identity for that.
        "delete user": lambda: users.delete(PRINCIPAL, owner, None),
    }

    assert {name: count(work) for name, work in costs.items()} == {
        "show": 1,
        "list": 2,
        "list active": 2,
        "find": 2,
        "check": 5,
        "upload": 12,
        "upload active": 19,
        "activate": 11,
        "activate again": 6,
        "replace": 23,
        "show versions": 1,
        "roll back": 24,
        "deactivate": 12,
        "delete": 13,
        "show user": 1,
        "list users": 1,
        "find user": 1,
        "change user": 5,
        "register": 4,
        "sign in": 1,
        "delete user": 17 if engine.dialect.name == "postgresql" else 15,
    }


@pytest.mark.one_backend("postgresql")
def test_names_are_claimed_while_statistics_are_those_of_empty_tables(
    certificates: Certificates, engine: sa.Engine
) -> None:
    """PostgreSQL makes them anew from time to time: many certificates may come in between."""
    # Of a table that never had a row, it assumes that there are some.
    (gone,) = add_users(engine, 1)
    add_certificates(engine, gone, 100)
    certificates.upload(PRINCIPAL, gone, sent(CertificateUpload, "a.example", active=True), None)
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM users"))
        tables = "certificates, certificate_hostnames, hostname_claims"
        connection.execute(sa.text(f"ANALYZE {tables}"))
    (owner,) = add_users(engine, 1)
    add_certificates(engine, owner, 500)
    names = [f"{place}.example.com" for place in range(50)]

    uploaded = certificates.upload(
        PRINCIPAL, owner, sent(CertificateUpload, *names, active=True), None
    )

    assert uploaded.active


def test_uploads_go_on_after_refused_requests(
    certificates: Certificates, listing: Listing, engine: sa.Engine
) -> None:
    """A rollback drops the statements that the driver prepares itself, and no others."""
    (owner,) = add_users(engine, 1)
    first = certificates.upload(PRINCIPAL, owner, an_upload(), None).id
    for active in [True, False] * 5:
        certificates.set_active(PRINCIPAL, owner, first, Activation(active), None)
    for _ in range(4):
        with pytest.raises(NotFound):
            certificates.delete(PRINCIPAL, owner, first + 1000, None)

    for _ in range(4):
        certificates.upload(PRINCIPAL, owner, an_upload(), None)
    assert len(ids(listing, owner, ALL)) == 5


@pytest.mark.one_backend
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
    listing: Listing, engine: sa.Engine, sizes: list[int], expected: list[int]
) -> None:
    """With the body that brings them to 4 MiB; nothing is lost by that."""
    (owner,) = add_users(engine, 1)
    added = [add_certificates(engine, owner, 1, body="x" * size)[0] for size in sizes]
    found = pages(listing, owner, ALL)

    assert [len(page) for page in found] == expected
    assert [certificate_id for page in found for certificate_id in page] == added


def test_a_page_ends_early_where_much_is_pending(listing: Listing, engine: sa.Engine) -> None:
    (owner,) = add_users(engine, 1)
    hostnames = msgspec.json.encode(["x" * MIB]).decode()
    content = {**dict.fromkeys(CONTENT), "hostnames": hostnames, "findings": "[]"}
    add_certificates(engine, owner, 9, activate_at=NEVER, pending=pending_json(content, 1, NEVER))

    assert [len(page) for page in pages(listing, owner, ALL)] == [4, 4, 1]


@pytest.mark.one_backend
@pytest.mark.parametrize("limit", [1, 2, 3, 5, 8])
def test_a_page_ends_at_its_limit_or_its_size_whichever_comes_first(
    listing: Listing, engine: sa.Engine, limit: int
) -> None:
    (owner,) = add_users(engine, 1)
    added = []
    for size in (1, 3 * MIB, 3 * MIB, 1, 1, 1, 2 * MIB, 1):
        added += add_certificates(engine, owner, 1, body="x" * size)
        add_certificates(engine, owner, 1, body="x" * MIB, active=False)
    found = pages(listing, owner, ALL._replace(active=True, limit=limit))

    assert [certificate_id for page in found for certificate_id in page] == added
    assert all(1 <= len(page) <= limit for page in found)


def test_a_large_page_is_not_kept_and_right_each_time(
    listing: Listing, engine: sa.Engine, statements: Counter
) -> None:
    (owner,) = add_users(engine, 1)
    added = add_certificates(engine, owner, 3, body="x" * MIB)

    for _ in range(2):
        assert len(statements(lambda: listing.page(PRINCIPAL, owner, ALL, NONE))) == 2
    assert ids(listing, owner, ALL) == added


def test_a_list_is_new_after_each_write(
    certificates: Certificates, listing: Listing, engine: sa.Engine
) -> None:
    owner, stranger = add_users(engine, 2)
    strangers_tag, _ = listing.page(PRINCIPAL, stranger, ALL, NONE)
    tags = [listing.page(PRINCIPAL, owner, ALL, NONE)[0]]
    first = certificates.upload(PRINCIPAL, owner, an_upload(), None).id
    tags.append(listing.page(PRINCIPAL, owner, ALL, NONE)[0])
    assert ids(listing, owner, ALL) == [first]
    certificates.set_active(PRINCIPAL, owner, first, Activation(True), None)
    tags.append(listing.page(PRINCIPAL, owner, ALL, NONE)[0])
    certificates.delete(PRINCIPAL, owner, first, None)
    tags.append(listing.page(PRINCIPAL, owner, ALL, NONE)[0])

    assert ids(listing, owner, ALL) == []
    assert len(set(tags)) == 4
    assert listing.page(PRINCIPAL, stranger, ALL, NONE)[0] == strangers_tag


def test_a_refused_write_changes_nothing(certificates: Certificates, engine: sa.Engine) -> None:
    owner, stranger = add_users(engine, 2)
    (first,) = add_certificates(engine, owner, 1)
    before = dump(engine)
    other = Tags(["other"])

    with pytest.raises(PreconditionFailed):
        certificates.upload(PRINCIPAL, owner, an_upload(), other)
    with pytest.raises(PreconditionFailed):
        certificates.set_active(PRINCIPAL, owner, first, Activation(False), other)
    with pytest.raises(PreconditionFailed):
        certificates.delete(PRINCIPAL, owner, first, other)
    with pytest.raises(NotFound):
        certificates.upload(PRINCIPAL, stranger + 1000, an_upload(), None)
    with pytest.raises(NotFound):
        certificates.set_active(PRINCIPAL, stranger, first, Activation(False), None)
    with pytest.raises(NotFound):
        certificates.delete(PRINCIPAL, stranger, first, None)
    assert dump(engine) == before


def test_no_id_is_used_twice(certificates: Certificates, engine: sa.Engine) -> None:
    (owner,) = add_users(engine, 1)
    used: list[int] = []
    for _ in range(5):
        used.append(certificates.upload(PRINCIPAL, owner, an_upload(), None).id)
        certificates.delete(PRINCIPAL, owner, used[-1], None)

    assert used == sorted(set(used))


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        ({}, "ix_certificates_user_id_id "),
        ({"active": False}, "ix_certificates_user_id_id "),
        ({"active": True}, "ix_certificates_user_id_id_active "),
        ({"status": "expired"}, "ix_certificates_user_id"),
        ({"expires_before": NOW}, "ix_certificates_user_id_not_after "),
        ({"fingerprint": "0" * 64}, "ix_certificates_fingerprint_sha256_user_id "),
        ({"trust": "public"}, "ix_certificates_user_id_trust "),
        ({"hostname": "www.example.com"}, "sqlite_autoindex_certificate_hostnames_1 "),
        ({"hostname": "a.example", "trust": "public"}, "ix_certificates_user_id"),
    ],
    ids=str,
)
def test_a_list_is_read_by_an_index(
    listing: Listing, engine: sa.Engine, statements: Counter, wanted: dict[str, Any], index: str
) -> None:
    """On SQLite; on PostgreSQL a plan depends on how much there is: `make bench` shows it."""
    (owner,) = add_users(engine, 1)
    found = ALL._replace(**wanted)
    _revision, page = statements(lambda: listing.page(PRINCIPAL, owner, found, NONE))
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            plan = connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {page}", tuple([1] * page.count("?"))
            ).all()
        steps = [step[3] for step in plan]
        assert any(f"INDEX {index}" in step for step in steps), steps
        assert not any(re.match("SCAN certif|SCAN users", step) for step in steps), steps
