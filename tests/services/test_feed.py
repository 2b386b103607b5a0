"""What waiting for a change costs the database."""

from collections.abc import Callable

from falcon.testing import TestClient


def test_nothing_is_asked_of_the_database_while_nothing_happens(
    client: TestClient, count: Callable[[Callable[[], object]], int]
) -> None:
    cursor = client.simulate_get("/terminators/feed").json["cursor"]

    def wait() -> None:
        answer = client.simulate_get("/terminators/feed", params={"since": cursor, "wait": 2})
        assert answer.json["changes"] == []

    # Where the log is and what is in it; once more when it began to listen, and at the end.
    assert count(wait) <= 6
