import json
import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from customer_certificates.gateways.request_lines import RequestLine, RequestLines

from ..factories import a_user, an_upload
from ..service import Service

pytestmark = pytest.mark.one_backend

WAIT_SECONDS = 20
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def lines(log: Path, request_id: str) -> list[dict[str, Any]]:
    """Returns the lines of the request with this id, when the thread has written them."""
    deadline = time.monotonic() + WAIT_SECONDS
    while request_id not in log.read_text("utf-8").rpartition("\n")[0]:
        assert time.monotonic() < deadline, f"no line of {request_id}"
    # The text after the last line break is still being written.
    whole = log.read_text("utf-8").rpartition("\n")[0].splitlines()
    read = [json.loads(line) for line in whole if line[:1] == "{"]
    return [line for line in read if line.get("request_id") == request_id]


def test_the_line_has_the_span_of_the_request(service: Service) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    sent = {"traced": f"00-{trace}-00f067aa0ba902b7-01", "wrong": f"00-{trace}-0-01", "none": ""}
    with service.client() as client:
        for request_id, traceparent in sent.items():
            headers = {"X-Request-Id": request_id, "traceparent": traceparent}
            client.get("/livez", headers=headers)

    (traced,), (wrong,), (none,) = (lines(service.log, request_id) for request_id in sent)
    assert re.fullmatch(f"00-{trace}-(?!00f067aa0ba902b7)[0-9a-f]{{16}}-01", traced["traceparent"])
    assert "traceparent" not in wrong.keys() | none.keys()


def test_each_request_has_one_line(service: Service) -> None:
    with service.client() as client:
        user = client.post("/users", json=a_user(), headers={"X-Request-Id": "log-1"})
        user_id = user.json()["id"]
        client.get(f"/users/{user_id}/certificates/?limit=5", headers={"X-Request-Id": "log-2"})
        client.get("/users/9223372036854775807", headers={"X-Request-Id": "log-3"})
        client.get("/nothing?x=1", headers={"X-Request-Id": "log-4"})
        client.get("/livez", headers={"X-Request-Id": "log-5", "Host": "example.com"})
        odd = client.request("FOO", "/users").headers["X-Request-Id"]
        own = client.get("/livez").headers["X-Request-Id"]

    told = [
        [
            {name: line[name] for name in line if name not in ("time", "ms", "request_id")}
            for line in lines(service.log, request_id)
        ]
        for request_id in ("log-1", "log-2", "log-3", "log-4", "log-5", odd, own)
    ]
    users, peer = "/users/{user_id}", {"event": "request", "peer": "127.0.0.1"}
    assert told == [
        [{**peer, "method": "POST", "route": "/users", "status": 201}],
        [
            {
                **peer,
                "method": "GET",
                "route": f"{users}/certificates",
                "status": 200,
                "user_id": user_id,
            }
        ],
        [{**peer, "method": "GET", "route": users, "status": 404, "user_id": 2**63 - 1}],
        [{**peer, "method": "GET", "route": "none", "status": 404}],
        [{**peer, "method": "GET", "route": "none", "status": 403}],
        [{**peer, "method": "other", "route": "none", "status": 400}],
        [{**peer, "method": "GET", "route": "/livez", "status": 200}],
    ]
    (line,) = lines(service.log, "log-1")
    assert line["time"].endswith("Z")
    assert line["ms"] > 0


def test_log_lines_contain_no_content_of_requests(service: Service) -> None:
    secret = "s3cr3t-of-the-request-log"
    with service.client() as client:
        registered = client.post(
            "/users", json=a_user(name=secret, password=secret, email=f"{secret}@example.com")
        )
        user = registered.headers["Location"]
        answers = [
            registered,
            client.post(f"{user}/certificates", json=an_upload(body=secret)),
            client.post(f"{user}/certificates", json={secret: secret}),
            client.patch(user, json={"password": secret}),
            client.get("/users", params={"email": f"{secret}@example.com"}),
            client.get(f"/{secret}", params={secret: secret}),
            client.get(user, headers={"If-None-Match": f'"{secret}"', "User-Agent": secret}),
            client.get(user, headers={"Authorization": f"Bearer {secret}", "Cookie": secret}),
            client.get(user, headers={"X-Request-Id": f"{secret}!"}),
            client.request(secret, user),
        ]

    for answer in answers:
        assert len(lines(service.log, answer.headers["X-Request-Id"])) == 1
    assert secret not in service.log.read_text("utf-8")


def test_at_a_terminal_it_speaks_words() -> None:
    terminal, end = os.openpty()
    with open(terminal, "rb", buffering=0) as shown, open(end, "w") as stream:
        log = RequestLines(stream)
        log.write(RequestLine(NOON, "GET", "/users/{user_id}", 200, 1.25, "mine", "127.0.0.1", 7))
        log.close()
        line = shown.read(1000).decode()

    assert line.split() == [
        *("12:00:00Z", "200", "GET", "/users/{user_id}", "1.25", "ms", "127.0.0.1"),
        *("user", "7", "mine"),
    ]


def test_a_reader_who_stalls_holds_up_nobody(caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = os.pipe()
    with open(reader, "rb") as stalled, open(writer, "w") as stream:
        log = RequestLines(stream)
        for _ in range(20_000):
            log.write(RequestLine(NOON, "GET", "/livez", 200, 0.5, "mine", "127.0.0.1"))
        stalled.close()
        log.close()

    assert "request log lines were dropped: the reader was too slow" in caplog.text


def test_elsewhere_it_writes_json(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        log = RequestLines(stream)
        log.write(RequestLine(NOON, "GET", "/livez", 200, 0.5, "mine", "127.0.0.1"))
        log.write(RequestLine(NOON, "POST", "/users", 201, 30.0, "yours", "::1", 7))
        log.close()
    read = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]

    common = {"event": "request", "time": "2026-11-23T12:00:00Z"}
    assert read == [
        {
            **common,
            "method": "GET",
            "route": "/livez",
            "status": 200,
            "ms": 0.5,
            "request_id": "mine",
            "peer": "127.0.0.1",
        },
        {
            **common,
            "method": "POST",
            "route": "/users",
            "status": 201,
            "ms": 30.0,
            "request_id": "yours",
            "peer": "::1",
            "user_id": 7,
        },
    ]
