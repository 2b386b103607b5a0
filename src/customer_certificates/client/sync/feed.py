"""The agent's requests to the service: the feed and reports."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from types import NoneType
from typing import TypeVar

from ..api.connection import Connection, Server
from ..api.responses import Refused
from .entries import Page
from .state.certificates import Placed

T = TypeVar("T")

_PAGE_SIZE = 500


class Feed:
    """One service's feed, read by one terminator."""

    def __init__(
        self, server: str, read_token: Callable[[], str | None], *, ca: Path | None = None
    ) -> None:
        """Calls `read_token` again after the service rejects a token.

        The token may have been rotated.

        `ca` is a PEM file with the only CA certificates to trust, or None for the public ones.
        """
        self._server = server
        self._ca = ca
        self._read_token = read_token
        self._connection: Connection | None = None
        self._next_cursor = ""
        self._next_page: Future[Page] | None = None

    def close(self) -> None:
        """Closes the connection. The next request opens another."""
        if self._connection:
            self._connection.close()
        self._connection = None

    def page(self, cursor: str, wait: int) -> Page:
        """Returns the changes after `cursor`; an empty cursor returns everything.

        Waits up to `wait` seconds for changes. Raises Refused, Unreachable, Lost.
        """
        prefetched, self._next_page = self._next_page, None
        # The cursor differs if the previous page could not be written.
        is_next = prefetched is not None and self._next_cursor == cursor
        page = prefetched.result() if prefetched and is_next else self._page(cursor, wait)
        if page.more:
            # The next page arrives while the agent writes this one.
            self._next_cursor, self._next_page = page.cursor, Future()
            thread_args = [self._next_page, page.cursor]
            Thread(target=self._fetch, args=thread_args, name="feed-prefetch", daemon=True).start()
        return page

    def _fetch(self, page: Future[Page], cursor: str) -> None:
        try:
            page.set_result(self._page(cursor))
        except BaseException as error:
            page.set_exception(error)

    def _page(self, cursor: str, wait: int = 0) -> Page:
        params = {"wait": str(wait), "limit": str(_PAGE_SIZE)}
        if cursor:
            params["since"] = cursor
        return self._send(
            lambda connection: connection.send(
                Page, "GET", "/terminators/feed", params=params, seconds=wait + 30
            )
        )

    def report(
        self,
        terminator: str,
        kind: str,
        cursor: str,
        served: Sequence[Placed],
        dropped: Sequence[int],
        errors: Sequence[str],
        instance: str,
    ) -> None:
        """Reports changes in what `terminator` serves since its last report.

        `instance` distinguishes this agent from another one with the same name.

        Raises Refused, Unreachable, Lost.
        """
        payload = {
            "terminator": terminator,
            "instance": instance,
            "format": kind,
            "cursor": cursor,
            "served": [
                {
                    "certificate_id": certificate.id,
                    "version": certificate.version,
                    "fingerprint_sha256": certificate.fingerprint,
                }
                for certificate in served
            ],
            "dropped": list(dropped),
            "errors": list(errors),
        }
        self._send(
            lambda connection: connection.send(NoneType, "POST", "/terminators/reports", payload)
        )

    def _send(self, send: Callable[[Connection], T]) -> T:
        if self._connection is None:
            self._connection = Connection(Server(self._server, self._read_token(), self._ca))
        try:
            return send(self._connection)
        except Refused:
            self.close()
            raise
