"""The events that the feed reads, and the cost of waiting for them."""

from falcon.testing import TestClient

from customer_certificates.services.events.log import EVENT_TYPES
from customer_certificates.services.terminators.feed_head import OF_ACTIVE, WITHDRAWN

from ..conftest import Counter

# Events of a certificate that change nothing that terminators serve. A new certificate that is
# active, and a deleted one that was, also have `activated` or `deactivated`.
CHANGE_NOTHING = {
    "certificate.created",
    "certificate.scheduled",
    "certificate.schedule_canceled",
    "certificate.cutover_failed",
    "certificate.deleted",
    "certificate.expiring",
    "certificate.expired",
    "certificate.served",
}


def test_each_event_of_a_certificate_is_in_the_feed_or_changes_nothing_that_is_served() -> None:
    of_certificates = {kind for kind in EVENT_TYPES if kind.startswith("certificate.")}
    in_feed = {*OF_ACTIVE, WITHDRAWN}

    assert of_certificates - in_feed == CHANGE_NOTHING


def test_nothing_is_asked_of_the_database_while_nothing_happens(
    client: TestClient, statements: Counter
) -> None:
    cursor = client.simulate_get("/terminators/feed").json["cursor"]

    def wait() -> None:
        answer = client.simulate_get("/terminators/feed", params={"since": cursor, "wait": 2})
        assert answer.json["changes"] == []

    # The cache of secrets checks from time to time whether their rows still exist.
    asked = [sql for sql in statements(wait) if "user_keys" not in sql]
    # Where the log is and what is in it; once more when it began to listen, and at the end.
    assert len(asked) <= 6
