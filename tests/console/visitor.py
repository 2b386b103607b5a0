"""A browser without JavaScript, in the process of the test."""

from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

from falcon.testing import Result, TestClient

from customer_certificates.console import cookies

HOST = "localhost:9000"
# As a browser sends them with a form of the console.
OWN_PAGE = {"Origin": f"http://{HOST}", "Sec-Fetch-Site": "same-origin"}
URL_ENCODED = "application/x-www-form-urlencoded"


class Visitor:
    """Keeps the session cookie, and sends forms with the headers and the token of a browser."""

    def __init__(
        self, client: TestClient, secret: str | None = None, *, peer: str = "127.0.0.1"
    ) -> None:
        """`peer` is the visitor's address."""
        self._client = client
        self._peer = peer
        self.secret = secret

    def get(self, path: str, headers: dict[str, str] | None = None) -> Result:
        """Loads a page."""
        return self.send("GET", path, headers or {})

    def post(self, path: str, **fields: str) -> Result:
        """Sends a form with the CSRF token of the cookie."""
        token = cookies.csrf_token(self.secret) if self.secret else ""
        return self.send("POST", path, OWN_PAGE, urlencode({"csrf": token, **fields}))

    def send(
        self, method: str, path: str, headers: dict[str, str], body: str | bytes | None = None
    ) -> Result:
        """Sends a request with the cookie, and keeps the cookie of the response."""
        sent = {"Host": HOST, **headers}
        if self.secret:
            sent.setdefault("Cookie", f"{cookies.NAME}={self.secret}")
        more: dict[str, Any] = {"remote_addr": self._peer}
        if body is not None:
            sent.setdefault("Content-Type", URL_ENCODED)
            more["body"] = body
        path, _, query = path.partition("?")
        answer = self._client.simulate_request(
            method, path, headers=sent, query_string=query, **more
        )
        if cookie := answer.cookies.get(cookies.NAME):
            self.secret = cookie.value
        return answer


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


def links_of(answer: Result) -> list[str]:
    """The links and sources of a page."""
    parser = _Links()
    parser.feed(answer.text)
    return parser.found
