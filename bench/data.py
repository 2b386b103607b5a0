"""The content of the bench's databases, and its uploads."""

import hashlib
import json
import os
import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from customer_certificates.crypto.seal import seal
from customer_certificates.crypto.sealed_format import DataKey, KeyContext
from customer_certificates.crypto.secret import Secret
from customer_certificates.gateways.master_keys import file
from customer_certificates.services.keys.data_keys import data_key_aad
from tests.factories import a_pair

from .workloads import SERVED, WORKLOADS

_PAIR = a_pair()
BODY = _PAIR.body
# As PostgreSQL stores it.
STORED_BODY = ssl.PEM_cert_to_DER_cert(BODY)
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
# Columns, and what is in them: SQL, in which n is the user's number.
_CERTIFICATE = {
    "user_id": "n",
    "active": "true",
    "body": "%(body)s",
    "served_pem": "''",
    # The name of `served_pem` in the revision that --base compares with; its types differ, too.
    "chain_pem": "%(body)s",
    "trust": "'public'",
    "hostnames": """concat('["n', n, '.example.com"]')""",
    "subject": "'CN=www.example.com'",
    "issuer": "'CN=Some Authority,O=Some Organisation,C=US'",
    "serial": "repeat('5', 36)",
    "not_before": "now() - interval '1 day'",
    "not_after": "now() + interval '90 days'",
    "key_algorithm": "'ECDSA-P-256'",
    "signature_algorithm": "'ecdsa-with-SHA256'",
    "fingerprint_sha256": "repeat('f', 64)",
    "spki_sha256": "repeat('e', 64)",
    "created_at": "now()",
}
# A user's certificates come over the years: they lie far from each other, not in a row.
_SOURCE = """FROM generate_series(1, %(number)s::bigint) AS turn,
    generate_series(%(first)s::bigint, %(last)s) AS n ORDER BY turn, n"""


def fill(url: str, var: Path) -> None:
    """Makes the users that the measured paths ask about, in an empty database. The keys of SERVED
    can be opened with the master key in the folder `var`."""
    groups = {work.users: work.certificates for work in WORKLOADS}
    with psycopg.connect(url, autocommit=True) as connection:
        for (first, last), certificates in sorted(groups.items()):
            connection.execute(USERS, [first, last])
            _add_certificates(connection, first, last, certificates)
        _add_served(connection, var)
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


def add_data_keys(
    connection: psycopg.Connection, var: Path, first: int, last: int
) -> Mapping[int, Secret]:
    """Gives each user a data key, wrapped by the master key in `var`, which is made if need be."""
    var.mkdir(mode=0o700, exist_ok=True)
    file.make(var / "master-key")
    master_key = file.FileMasterKey(var / "master-key")
    keys = {user: Secret(os.urandom(32)) for user in range(first, last + 1)}
    columns = "user_id, version, wrapped, master_key_id, created_at"
    with copy_into(connection, f"user_keys ({columns})") as copy:
        for user, key in keys.items():
            wrapped = master_key.wrap(key, data_key_aad(user, 1))
            copy.write_row((user, 1, wrapped, master_key.id, datetime.now(UTC)))
    return keys


def seal_for(user: int, certificate: int, key: Secret) -> bytes:
    """The private key of `certificate`, sealed with its user's data key."""
    return seal(Secret(_PAIR.key_der), DataKey(1, key), KeyContext(user, certificate, 1))


def columns_of(connection: psycopg.Connection, table: str) -> set[str]:
    """The columns that the table has, in the revision that made it."""
    found = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = %s", [table]
    )
    return {name for (name,) in found}


def copy_into(connection: psycopg.Connection, into: str) -> Any:
    """A context with `write_row`, for a table and its columns."""
    return connection.cursor().copy(f"COPY {into} FROM STDIN".encode())


def add_names(connection: psycopg.Connection, first: int, last: int) -> None:
    """Gives the users the names of their certificates."""
    connection.execute(
        "INSERT INTO certificate_hostnames (user_id, hostname, certificate_id)"
        " SELECT user_id, hostnames::json->>0, id FROM certificates"
        " WHERE user_id BETWEEN %s AND %s",
        (first, last),
    )
    connection.execute(
        "INSERT INTO hostname_claims (hostname, user_id)"
        " SELECT hostname, user_id FROM certificate_hostnames WHERE user_id BETWEEN %s AND %s",
        (first, last),
    )


def _add_served(connection: psycopg.Connection, var: Path) -> None:
    """Adds hostname claims and private keys, so that the certificates of SERVED are served."""
    add_names(connection, *SERVED)
    keys = add_data_keys(connection, var, *SERVED)
    ids = connection.execute(
        "SELECT id, user_id FROM certificates WHERE user_id BETWEEN %s AND %s", SERVED
    ).fetchall()
    with copy_into(connection, "private_keys (certificate_id, version, sealed)") as copy:
        for number, user in ids:
            copy.write_row((number, 1, seal_for(user, number, keys[user])))


def _add_certificates(
    connection: psycopg.Connection, first: int, last: int, certificates: int
) -> None:
    there = columns_of(connection, "certificates")
    values = {name: value for name, value in _CERTIFICATE.items() if name in there}
    statement = (
        f"INSERT INTO certificates ({', '.join(values)}) SELECT {', '.join(values.values())} "
        + _SOURCE
    )
    connection.execute(
        statement.encode(),
        {
            "body": STORED_BODY if "served_pem" in there else BODY,
            "number": certificates,
            "first": first,
            "last": last,
        },
    )
