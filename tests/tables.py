"""The tables, read and filled behind the service's back."""

import json
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from customer_certificates.models import (
    NEVER,
    AuditEntry,
    Base,
    Certificate,
    Delivery,
    Event,
    RateCount,
    Terminator,
    User,
    Webhook,
    email_key,
    new_revision,
)
from customer_certificates.services.principal import Principal

from .factories import a_user

# The principal of tests for which it does not matter.
PRINCIPAL = Principal("open", "a-request", "127.0.0.1")
NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
# The result of `dump` for an empty table.
_RECORDS = {"audit", "audit_heads", "events", "kept_answers", "summary_changes"}
# The service, and a worker beside a test, note here what they have done.
_JOBS = {"service_state", "service_latches", "service_secrets", "key_deletions", "audit_exports"}
_TABLES = [table for table in Base.metadata.sorted_tables if table.name not in _RECORDS | _JOBS]
_ROWS = {
    table.name: sa.select(*(column for column in table.c if column.name != "expiry_due")).order_by(
        *table.primary_key
    )
    for table in _TABLES
}
# How often requests without effect were recorded.
_ROWS["rate_counts"] = _ROWS["rate_counts"].where(RateCount.name.not_like("audit %"))
# The names of the tables that have rows: most have none, and each query takes its time.
_FILLED = " UNION ALL ".join(
    f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM {name})" for name in _ROWS
)
NOTHING: dict[str, list[Any]] = {name: [] for name in _ROWS}


def dump(engine: sa.Engine) -> dict[str, list[Sequence[Any]]]:
    """Every value of every row, but of what is recorded of requests, refused ones among them."""
    with engine.connect() as connection:
        filled = set(connection.exec_driver_sql(_FILLED).scalars())
        return {
            name: [tuple(row) for row in connection.execute(rows)] if name in filled else []
            for name, rows in _ROWS.items()
        }


def remove_latches(connection: sa.Connection) -> None:
    """Removes what the role of the service cannot: as the owner, on SQLite without the triggers."""
    if not connection.exec_driver_sql("SELECT name FROM service_latches").all():
        return
    triggers: list[str] = []
    if connection.dialect.name == "sqlite":
        found = (
            "SELECT name, sql FROM sqlite_master"
            " WHERE tbl_name = 'service_latches' AND type = 'trigger'"
        )
        for name, sql in connection.exec_driver_sql(found).all():
            connection.exec_driver_sql(f"DROP TRIGGER {name}")
            triggers.append(sql)
    connection.exec_driver_sql("DELETE FROM service_latches")
    for sql in triggers:
        connection.exec_driver_sql(sql)


def number_in_audit(engine: sa.Engine, action: str) -> int:
    """How many things the entries of an action are about that is done by the batch."""
    details = sa.select(AuditEntry.detail).where(AuditEntry.action == action)
    with engine.connect() as connection:
        return sum(json.loads(one)["number"] for one in connection.execute(details).scalars())


def add_users(engine: sa.Engine, number: int, **columns: Any) -> list[int]:
    """The ids of new users, by id."""
    users = [a_user() for _ in range(number)]
    rows = [
        {
            "name": user["name"],
            "email": user["email"],
            "email_key": email_key(user["email"]),
            "password_hash": "",
            "certificates_revision": new_revision(),
            "statuses_as_of": NOW - timedelta(days=365),
            "statuses_change_at": NEVER,
            "created_at": NOW,
            **columns,
        }
        for user in users
    ]
    return _insert(engine, User, rows)


def add_certificates(
    engine: sa.Engine,
    user_id: int,
    number: int,
    *,
    active: bool = True,
    body: str = "PEM",
    **columns: Any,
) -> list[int]:
    """The ids of a user's new certificates, by id. A list that was read before is not told."""
    row = {"user_id": user_id, "active": active, "body": body, "created_at": NOW, **columns}
    return _insert(engine, Certificate, [row] * number)


def add_terminator(engine: sa.Engine, name: str = "edge-1") -> int:
    """The id of a terminator that has reported, and serves nothing."""
    row = {"name": name, "format": "nginx", "errors": "[]", "seen_at": NOW}
    return _insert(engine, Terminator, [row])[0]


def add_webhook(engine: sa.Engine, user_id: int | None, **columns: Any) -> tuple[int, int]:
    """The ids of a new endpoint, and of an event that it was told of."""
    row = {
        "user_id": user_id,
        "url": "https://hooks.example.com/",
        "events": '["*"]',
        "description": "",
        "state": "active",
        "configured": False,
        "created_at": NOW,
        **columns,
    }
    (webhook_id,) = _insert(engine, Webhook, [row])
    about = {"user_id": user_id or 0, "type": "webhook.test", "at": NOW, "notify": False}
    (event_id,) = _insert(engine, Event, [{**about, "webhook_id": webhook_id}])
    told = {"event_id": event_id, "user_id": user_id or 0, "status": "delivered"}
    with engine.begin() as connection:
        values = {"webhook_id": webhook_id, "ordering_key": -event_id, **told}
        connection.execute(sa.insert(Delivery).values(values))
    return webhook_id, event_id


def _insert(engine: sa.Engine, kind: type[Base], rows: list[dict[str, Any]]) -> list[int]:
    with engine.begin() as connection:
        statement: Any = sa.insert(kind).returning(sa.column("id"))
        return sorted(connection.execute(statement, rows).scalars())


def wait_until_settled(engine: sa.Engine) -> None:
    """Waits until no older transaction holds the feed back: other processes of a run have some, in
    databases of their own on the same server."""
    if engine.dialect.name == "sqlite":
        return
    held = (
        "SELECT count(*) FROM events"
        " WHERE xid >= CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint)"
    )
    patience = threading.Event()
    for _ in range(6000):
        with engine.connect() as connection:
            if not connection.exec_driver_sql(held).scalar_one():
                return
        patience.wait(0.01)
    raise AssertionError("A transaction has held the feed back for a minute.")
