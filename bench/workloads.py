"""The requests that are measured, with their targets, and the least that each asks of SQL."""

from collections.abc import Mapping
from dataclasses import dataclass, field

USER = "SELECT id, name, email, created_at FROM users WHERE id = :user;"

LIST = """
SELECT id, active, body, created_at FROM certificates
WHERE user_id = :user AND active AND id > 0 ORDER BY id LIMIT 100;
"""

INSERT = """
BEGIN;
UPDATE users SET certificates_revision = :revision WHERE id = :user;
WITH stored AS (
    INSERT INTO certificates (user_id, active, body, created_at)
    VALUES (:user, false, :body, now()) RETURNING id
)
INSERT INTO private_keys (certificate_id, version, sealed) SELECT id, 1, :private_key FROM stored;
COMMIT;
"""

FASTAPI, PGBENCH, OPENBAO, FALCON = "FastAPI", "pgbench", "OpenBao", "bare Falcon"
# Ratios to another revision of this service, and to this one's answers to GET_USER.
BASE, GET_USER = "base", "`GET` user"


@dataclass(frozen=True)
class Workload:
    """One thing to measure: a request to each of many users, and the same in SQL.

    `target` has %d wherever the user's number goes. `certificates` is how many active ones each of
    the users has. `peers` says who is measured beside it, and how many times as fast as each the
    service is to be (None: no target). `most_p99` is in milliseconds.
    """

    title: str
    method: str
    target: str
    users: tuple[int, int]
    certificates: int
    sql: str = ""
    peers: Mapping[str, float | None] = field(default_factory=dict, hash=False)
    most_p99: float | None = None
    connections: int = 32


READERS, COLLECTORS, WRITERS, SERVED = (1, 1000), (1001, 1020), (1021, 2020), (2021, 3020)
LIST_TARGET = "/users/%d/certificates?active=true"
# The users of READERS are the first to be given certificates: one each has its user's number.
CERTIFICATE_TARGET = "/users/%d/certificates/%d"

ONE_USER = Workload(
    *(GET_USER, "GET", "/users/%d", READERS, 5, USER),
    {FASTAPI: 7, PGBENCH: 0.22, BASE: 2.2},
    most_p99=8,
)
CROWD = Workload(
    *("`GET` user, 256 connections", "GET", "/users/%d", READERS, 5, USER),
    {FASTAPI: None, BASE: None},
    most_p99=40,
    connections=256,
)
SHORT_LIST = Workload(
    *("active list of 5", "GET", LIST_TARGET, READERS, 5, LIST),
    {FASTAPI: 7, PGBENCH: 0.25, BASE: 2.1},
    most_p99=8,
)
LONG_LIST = Workload(
    *("active list of 100", "GET", LIST_TARGET, COLLECTORS, 100, LIST),
    {FASTAPI: 12, PGBENCH: None, BASE: 1.8},
)
CERTIFICATE = Workload(
    *("one certificate", "GET", CERTIFICATE_TARGET, READERS, 5),
    peers={OPENBAO: 1.5, BASE: None},
    most_p99=8,
)
RESOLVE = Workload(
    *("`/resolve`", "GET", "/resolve?hostname=n%d.example.com", SERVED, 1),
    peers={GET_USER: 0.7, BASE: None},
)
CADDY = Workload(
    *("Caddy's question", "GET", "/terminators/caddy?server_name=n%d.example.com", SERVED, 1),
    peers={GET_USER: 0.7, BASE: None},
)
UPLOAD = Workload(
    *("upload, examined, sealed, recorded", "POST", "/users/%d/certificates", WRITERS, 0, INSERT),
    {FASTAPI: None, PGBENCH: None, OPENBAO: 0.7, BASE: 2},
)
WORKLOADS = (ONE_USER, CROWD, SHORT_LIST, LONG_LIST, CERTIFICATE, RESOLVE, CADDY, UPLOAD)
BARE = Workload("bare route", "GET", "/users/%d", READERS, 0)
