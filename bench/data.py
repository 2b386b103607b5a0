"""What the bench fills its databases with, and what it uploads."""

import hashlib
import json
from collections.abc import Sequence

import psycopg

from tests.factories import a_pair

from .workloads import WORKLOADS

_PAIR = a_pair()
BODY = _PAIR.body
PRIVATE_KEY = hashlib.shake_128(b"key").digest(138)
REVISION = bytes(16)
UPLOAD = json.dumps({"private_key": _PAIR.private_key, "body": BODY})

USERS = """
INSERT INTO users (name, email, email_key, password_hash, certificates_revision, statuses_as_of,
    statuses_change_at, created_at)
SELECT 'Customer ' || n, mail, mail, repeat('x', 97), uuid_send(gen_random_uuid()), now(),
    '9999-12-31', now()
FROM generate_series(%s::bigint, %s) AS n, concat('customer', n, '@example.com') AS mail
"""
# A user's certificates come over the years: they lie far from each other, not in a row.
_CERTIFICATES = """
INSERT INTO certificates (user_id, active, body, chain_pem, trust, hostnames, subject,
    issuer, serial, not_before, not_after, key_algorithm, signature_algorithm, fingerprint_sha256,
    spki_sha256, created_at)
SELECT n, true, %s, %s, 'public', '["www.example.com"]', 'CN=www.example.com',
    'CN=Some Authority,O=Some Organisation,C=US', repeat('5', 36), now() - interval '1 day',
    now() + interval '90 days', 'ECDSA-P-256', 'ecdsa-with-SHA256', repeat('f', 64),
    repeat('e', 64), now()
FROM generate_series(1, %s::bigint) AS turn, generate_series(%s::bigint, %s) AS n ORDER BY turn, n
"""


def fill(url: str) -> None:
    """Makes the users that the measured paths ask about, in an empty database."""
    groups = {work.users: work.certificates for work in WORKLOADS}
    with psycopg.connect(url, autocommit=True) as connection:
        for (first, last), certificates in sorted(groups.items()):
            connection.execute(USERS, [first, last])
            _add_certificates(connection, first, last, certificates)
        connection.execute("VACUUM (ANALYZE)")


def settle(urls: Sequence[str]) -> None:
    """Has each database look at what it holds, as autovacuum does within a minute: a plan that was
    made for an empty table reads the whole of it."""
    for url in urls:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ANALYZE")


def grow(url: str, users: int) -> None:
    """Adds others, with five certificates each, until there are `users` of them."""
    with psycopg.connect(url, autocommit=True) as connection:
        present = connection.execute("SELECT max(id) FROM users").fetchone()
        first = 1 + (present[0] if present else 0)
        connection.execute(USERS, [first, users])
        _add_certificates(connection, first, users, 5)
        connection.execute("VACUUM (ANALYZE)")


def _add_certificates(
    connection: psycopg.Connection, first: int, last: int, certificates: int
) -> None:
    connection.execute(_CERTIFICATES, [BODY, BODY, certificates, first, last])
