"""What is measured: requests to the service, and the least that each asks of the database."""

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Workload:
    """One thing to measure: a request to each of many users, and the same in SQL.

    `certificates` is how many active ones each of the users has; the last two say how many times
    as fast as FastAPI and as the SQL alone the service is to be.
    """

    title: str
    method: str
    target: str
    users: tuple[int, int]
    certificates: int
    sql: str
    target_fastapi: float
    target_pgbench: float


READERS, COLLECTORS, WRITERS = (1, 1000), (1001, 1020), (1021, 2020)
LIST_TARGET = "/users/%d/certificates?active=true"
WORKLOADS = [
    Workload("one user", "GET", "/users/%d", READERS, 5, USER, 6, 0.25),
    Workload("list of 5", "GET", LIST_TARGET, READERS, 5, LIST, 5, 0.33),
    Workload("list of 100", "GET", LIST_TARGET, COLLECTORS, 100, LIST, 15, 1),
    Workload("upload", "POST", "/users/%d/certificates", WRITERS, 0, INSERT, 3, 0.2),
]
BARE = Workload("bare route", "GET", "/users/%d", READERS, 0, "", 0, 0)
