"""Keys that are costly to read are rejected, or read in a sandbox, while others are served."""

import base64
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from customer_certificates.models import Certificate

from . import hostile
from .factories import a_pair, a_user, an_upload
from .service import Service

pytestmark = pytest.mark.one_backend


def post_all_at_once(
    service: Service, user_id: int, uploads: list[dict[str, Any]]
) -> list[httpx.Response]:
    """The responses to concurrent uploads, in order."""

    def post(upload: dict[str, Any]) -> httpx.Response:
        with service.client() as client:
            return client.post(f"/users/{user_id}/certificates", json=upload)

    with ThreadPoolExecutor(len(uploads)) as threads, service.client() as client:
        answers = [threads.submit(post, upload) for upload in uploads]
        while wait(answers, 0.02).not_done:
            assert client.get(f"/users/{user_id}").status_code == 200
        return [answer.result() for answer in answers]


def register(service: Service) -> int:
    with service.client() as client:
        return int(client.post("/users", json=a_user()).json()["id"])


def codes(answer: httpx.Response) -> set[str]:
    content = answer.json()
    return {finding["code"] for finding in content.get("errors", content.get("findings", []))}


def test_hostile_keys_are_rejected_before_they_cost_cpu_time(
    service: Service, engine: sa.Engine
) -> None:
    """Large RSA keys are not read: they are stored with a finding."""
    user_id = register(service)

    answers = post_all_at_once(service, user_id, hostile.uploads())

    assert all(answer.status_code in (201, 422) for answer in answers)
    for answer in answers:
        expected = "key_too_costly" if answer.status_code == 422 else "key_weak"
        assert expected in codes(answer)
    kinds = [answer.status_code for answer in answers[:5]]
    assert kinds == [422, 201, 201, 422, 422]
    with engine.connect() as connection:
        stored = connection.execute(sa.select(sa.func.count()).select_from(Certificate)).scalar()
    assert stored == 8


def test_costly_keys_delay_nobody_else(service: Service) -> None:
    """A million iterations are allowed, and take some tenths of a second each."""
    user_id = register(service)
    key = base64.b64encode(hostile.pbkdf2_key(10**6)).decode()
    costly = {"body": a_pair().body, "private_key": key, "passphrase": "wrong"}

    answers = post_all_at_once(service, user_id, [costly] * 12)

    assert {answer.status_code for answer in answers} <= {201, 429}
    for answer in answers:
        if answer.status_code == 429:
            assert answer.headers["Retry-After"] == "1"
        else:
            assert "passphrase_wrong" in codes(answer)
    with service.client() as client:
        after = client.post(f"/users/{user_id}/certificates", json=an_upload())
    assert after.status_code == 201
