"""What waiting for a change costs the database."""

from falcon.testing import TestClient

from ..conftest import Counter


def test_nothing_is_asked_of_the_database_while_nothing_happens(
    client: TestClient, statements: Counter
) -> None:
    cursor = client.simulate_get("/terminators/feed").json["cursor"]

    def wait() -> None:
        answer = client.simulate_get("/terminators/feed", params={"since": cursor, "wait": 2})
        assert answer.json["changes"] == []

    # Whoever has keys in memory looks from time to time whether their rows are still there.
    asked = [sql for sql in statements(wait) if "user_keys" not in sql]
    # Where the log is and what is in it; once more when it began to listen, and at the end.
    assert len(asked) <= 6
