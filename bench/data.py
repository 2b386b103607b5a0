"""What the bench fills its databases with, and what it uploads."""

import base64
import hashlib
import json

import psycopg

from .workloads import WORKLOADS

# As long as the PEM of a leaf certificate with a few names, and of a P-256 key.
BODY = (
    "-----BEGIN CERTIFICATE-----\n"
    + base64.encodebytes(b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(46))).decode()
    + "-----END CERTIFICATE-----\n"
)
PRIVATE_KEY = hashlib.shake_128(b"key").digest(241)
REVISION = bytes(16)
UPLOAD = json.dumps({"private_key": base64.b64encode(PRIVATE_KEY).decode(), "body": BODY})

_USERS = """
INSERT INTO users (name, email, email_key, password_hash, certificates_revision, created_at)
SELECT 'Customer ' || n, mail, mail, repeat('x', 97), uuid_send(gen_random_uuid()), now()
FROM generate_series(%s::bigint, %s) AS n, concat('customer', n, '@example.com') AS mail
"""
# A user's certificates come over the years: they lie far from each other, not in a row.
_CERTIFICATES = """
INSERT INTO certificates (user_id, active, body, private_key, created_at)
SELECT n, true, %s, %s, now()
FROM generate_series(1, %s::bigint) AS turn, generate_series(%s::bigint, %s) AS n ORDER BY turn, n
"""


def fill(url: str) -> None:
    """Makes the users that the measured paths ask about, in an empty database."""
    groups = {work.users: work.certificates for work in WORKLOADS}
    with psycopg.connect(url, autocommit=True) as connection:
        for (first, last), certificates in sorted(groups.items()):
            connection.execute(_USERS, [first, last])
            _add_certificates(connection, first, last, certificates)
        connection.execute("VACUUM (ANALYZE)")


def grow(url: str, users: int) -> None:
    """Adds others, with five certificates each, until there are `users` of them."""
    with psycopg.connect(url, autocommit=True) as connection:
        present = connection.execute("SELECT max(id) FROM users").fetchone()
        first = 1 + (present[0] if present else 0)
        connection.execute(_USERS, [first, users])
        _add_certificates(connection, first, users, 5)
        connection.execute("VACUUM (ANALYZE)")


def _add_certificates(
    connection: psycopg.Connection, first: int, last: int, certificates: int
) -> None:
    connection.execute(_CERTIFICATES, [BODY, PRIVATE_KEY, certificates, first, last])
