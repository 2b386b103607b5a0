"""A reader of the feed of certificates that are served."""

from typing import Any

import sqlalchemy as sa
from falcon.testing import Result, TestClient

from ..tables import wait_until_settled

FEED = "/terminators/feed"


class Reader:
    """Does as an agent does: it takes page after page, and remembers its cursor.

    It first waits until no transaction holds the feed back. Processes that run other tests have
    transactions on the same server.
    """

    def __init__(self, client: TestClient, engine: sa.Engine, **params: Any) -> None:
        self.client = client
        self.params = params
        self.cursor = ""
        self.resets = 0
        self._engine = engine

    def ask(self, **params: Any) -> Result:
        since = {"since": self.cursor} if self.cursor else {}
        return self.client.simulate_get(FEED, params={**since, **self.params, **params})

    def page(self) -> dict[str, Any]:
        """The next page, once settled."""
        wait_until_settled(self._engine)
        return self.page_now()

    def page_now(self, **params: Any) -> dict[str, Any]:
        """The next page, whether or not a transaction holds changes back."""
        answer = self.ask(**params)
        assert answer.status_code == 200, answer.text
        assert answer.headers["Cache-Control"] == "no-store"
        page: dict[str, Any] = answer.json
        assert page.keys() == {"cursor", "more", "reset", "changes"}
        self.cursor = page["cursor"]
        self.resets += page["reset"]
        return page

    def read(self) -> list[tuple[int, int | None]]:
        """All there is: ids with versions, None where it is to be served no more."""
        changes, more = [], True
        while more:
            page = self.page()
            changes += page["changes"]
            more = page["more"]
        for change in changes:
            if not change["active"]:
                shown = {"certificate_id", "user_id", "active", "event_id", "reserved_hostnames"}
                assert change.keys() <= shown
        return [(one["certificate_id"], one.get("version")) for one in changes]
