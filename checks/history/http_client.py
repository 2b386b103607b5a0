"""A client that spreads its requests over services and connections, and notes each answer."""

import http.client
import random
import select
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

ANSWER_SECONDS = 30
_CONNECTIONS = 2


class Answer(NamedTuple):
    """An HTTP answer."""

    status: int
    revision: str
    body: bytes


class NotSent(Exception):  # noqa: N818
    """No service took the request, so it changed nothing."""


class NotAnswered(Exception):  # noqa: N818
    """The connection ended, or nobody answered in time: the outcome is unknown."""


class HttpClient:
    """Each request goes over one of a few connections, chosen at random: they end at different
    services and workers. For one thread."""

    def __init__(self, urls: Sequence[str], choices: random.Random) -> None:
        self.statuses: Counter[str] = Counter()
        self._choices = choices
        self._connections = [
            http.client.HTTPConnection(urlsplit(url).netloc, timeout=ANSWER_SECONDS)
            for url in urls
            for _ in range(_CONNECTIONS)
        ]

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    def ask(
        self, method: str, path: str, content: object = None, headers: Mapping[str, str] = {}
    ) -> Answer:
        """The answer to one request. Raises NotSent or NotAnswered."""
        connection = self._choices.choice(self._connections)
        sent = dict(headers)
        body = None
        if content is not None:
            sent["Content-Type"] = "application/json"
            body = msgspec.json.encode(content)
        try:
            self._connect(connection)
        except OSError as error:
            self.statuses["not sent"] += 1
            raise NotSent from error
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            answer = Answer(
                response.status, response.headers.get("ETag", "").strip('"'), response.read()
            )
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self.statuses["no answer"] += 1
            raise NotAnswered from error
        self.statuses[str(answer.status)] += 1
        return answer

    def _connect(self, connection: http.client.HTTPConnection) -> None:
        """A service that ended has closed the connection: that is no reason for doubt."""
        if connection.sock and select.select([connection.sock], [], [], 0)[0]:
            connection.close()
        if not connection.sock:
            connection.connect()
