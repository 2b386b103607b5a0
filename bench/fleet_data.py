"""A fleet of certificates as it is after years of renewals, the same rows in both databases."""

import random
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import psycopg

from .data import copy_into

# Users have so many certificates each, which came over the years, by turns.
OF_ONE_USER = 10
ISSUERS = 50
SHARED_SPKI, SHARED = "ab" * 32, 5000
_BODY = b"0\x82" + bytes(1798)
_FINDINGS = '[{"code":"chain_completed","field":"body","severity":"info"}]'
_DAY = timedelta(days=1)


class Row(NamedTuple):
    """The columns of a certificate that a search compares, and enough others for its size."""

    id: int
    user_id: int
    active: bool
    body: bytes
    served_pem: bytes | str
    trust: str
    findings: str
    hostnames: str
    subject: str
    issuer: str
    serial: str
    not_before: datetime | None
    not_after: datetime | None
    serve_not_before: datetime | None
    serve_not_after: datetime | None
    not_servable: str | None
    key_algorithm: str
    signature_algorithm: str
    fingerprint_sha256: str
    spki_sha256: str
    created_at: datetime
    labels: str


def rows(number: int, now: datetime) -> Iterator[Row]:
    """Yields the certificates: a third has expired, and one in a thousand is not valid yet."""
    chance = random.Random(17)
    users = max(1, number // OF_ONE_USER)
    trusts = ("public", "private", "self_signed", "incomplete", "unreadable")
    for certificate in range(1, number + 1):
        user = 1 + (certificate - 1) % users
        life = (90 if chance.random() < 0.7 else 365) * _DAY
        age = chance.random()
        if age < 0.65:
            begin = now - chance.random() * life
        elif age < 0.999:
            begin = now - life - chance.random() * 730 * _DAY
        else:
            begin = now + chance.random() * 20 * _DAY
        end = begin + life
        trust = chance.choices(trusts, (900, 64, 25, 10.5, 0.5))[0]
        is_short = chance.random() < 0.0002
        labels = '{"env":"production"}' if chance.random() < 0.3 else "{}"
        if chance.random() < 0.001:
            labels = '{"team":"edge"}'
        readable = trust != "unreadable"
        name = f"www{certificate // users}.c{user}.example.com"
        yield Row(
            certificate,
            user,
            chance.random() < (0.9 if end > now else 0.2),
            _BODY,
            b"" if readable else "",
            trust,
            _FINDINGS,
            f'["{name}"]',
            f"CN={name}",
            f"CN=Issuing CA {int(ISSUERS * chance.random() ** 3)},O=Some Organization,C=US",
            f"{chance.getrandbits(144):036x}",
            begin if readable else None,
            end if readable else None,
            begin if readable else None,
            end - 30 * _DAY if is_short else end if readable else None,
            "no_key" if chance.random() < 0.0005 else None,
            chance.choice(("ECDSA-P-256", "RSA-2048", "RSA-4096")),
            "ecdsa-with-SHA256",
            f"{chance.getrandbits(256):064x}",
            SHARED_SPKI
            if certificate % (number // SHARED or 1) == 0
            else f"{chance.getrandbits(256):064x}",
            min(begin, now),
            labels,
        )


def fill_postgresql(url: str, number: int, now: datetime) -> None:
    """Fills an empty database, as its owner."""
    with psycopg.connect(url, autocommit=True) as connection:
        # Triggers copy labels, one row at a time.
        connection.execute("ALTER TABLE certificates DISABLE TRIGGER USER")
        connection.execute(
            """INSERT INTO users (name, email, email_key, password_hash, certificates_revision,
                created_at, external_id)
            SELECT 'Customer ' || n, mail, mail, repeat('x', 97), uuid_send(gen_random_uuid()),
                now(), 'crm-' || n
            FROM generate_series(1, %s::bigint) AS n, concat('customer', n, '@example.com') AS mail
            """,
            [max(1, number // OF_ONE_USER)],
        )
        with copy_into(connection, f"certificates ({', '.join(Row._fields)})") as copy:
            for row in rows(number, now):
                copy.write_row(row)
        connection.execute(_NAMES.format("hostnames::json->>0"))
        connection.execute(
            "INSERT INTO certificate_labels (certificate_id, user_id, name, value)"
            " SELECT id, user_id, key, value FROM certificates, jsonb_each_text(labels::jsonb)"
            " WHERE labels <> '{}'"
        )
        connection.execute("ALTER TABLE certificates ENABLE TRIGGER USER")
        connection.execute("SELECT setval('certificates_id_seq', %s)", [number])
        connection.execute("VACUUM (ANALYZE)")


def fill_sqlite(path: str, number: int, now: datetime) -> None:
    """Fills an empty database."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -1000000")
    (trigger,) = connection.execute(
        "SELECT sql FROM sqlite_master WHERE name = 'certificates_labels_inserted'"
    ).fetchone()
    connection.execute("DROP TRIGGER certificates_labels_inserted")
    connection.execute("BEGIN")
    connection.execute(
        """WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
        INSERT INTO users (name, email, email_key, password_hash, certificates_revision,
            created_at, external_id)
        SELECT 'Customer ' || n, 'customer' || n || '@example.com', 'customer' || n, 'x',
            randomblob(16), '2026-01-01 00:00:00.000000', 'crm-' || n FROM numbers""",
        [max(1, number // OF_ONE_USER)],
    )
    values = ", ".join("?" * len(Row._fields))
    connection.executemany(
        f"INSERT INTO certificates ({', '.join(Row._fields)}) VALUES ({values})",
        (_sqlite_row(row) for row in rows(number, now)),
    )
    connection.execute(_NAMES.format("hostnames ->> '$[0]'"))
    connection.execute(
        "INSERT INTO certificate_labels (certificate_id, user_id, name, value)"
        " SELECT certificates.id, user_id, key, value FROM certificates, json_each(labels)"
    )
    connection.execute("COMMIT")
    connection.execute(trigger)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


_NAMES = (
    "INSERT INTO certificate_hostnames (user_id, hostname, certificate_id, active)"
    " SELECT user_id, {}, id, active FROM certificates"
)


def _sqlite_row(row: Row) -> list[Any]:
    return [
        f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}" if isinstance(value, datetime) else value
        for value in row
    ]
