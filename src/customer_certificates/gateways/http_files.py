"""Files at a well-known path on a customer's web server, read over plain HTTP."""

from collections.abc import Sequence
from urllib.parse import urljoin

from ..errors import Failure
from .loop import Threads
from .outbound_http import GetResponse, Outbound, TargetForbidden, TargetUnreachable
from .outbound_http.url import Address, Target, parse

MOST_BYTES = 4096
_MOST_REDIRECTS = 3
_HTTP, _HTTPS = 80, 443
_THREADS = Threads("http-files", 8)
_REDIRECTS = (301, 302, 303, 307, 308)


class FileMissing(Failure):
    """The web server responded, but without the file. `detail` says how."""


class HttpFiles:
    """Reads files as webhooks are sent: from no private address, within a time and a size."""

    def __init__(self, outbound: Outbound, port: int = _HTTP) -> None:
        """`port` is the port of plain HTTP."""
        self._outbound = outbound
        self._port = port

    def read(self, host: str, path: str, addresses: Sequence[Address]) -> bytes:
        """Returns the file at `path`.

        `addresses` are those of `host`, an IP address or a name. Follows redirects to the same host
        and path only, as from HTTP to HTTPS. All requests share one deadline. Raises FileMissing,
        TargetForbidden, TargetUnreachable.
        """
        return _THREADS.run(self._read, host, path, addresses)

    def _read(self, host: str, path: str, addresses: Sequence[Address]) -> bytes:
        url = self.url(host, path)
        start, deadline = parse(url), self._outbound.deadline()
        for _ in range(_MOST_REDIRECTS + 1):
            page = self._outbound.get(url, MOST_BYTES, addresses, deadline)
            if page.status not in _REDIRECTS:
                return _file(page)
            url = self._redirected(start, url, page.location)
        raise FileMissing(f"it redirects more than {_MOST_REDIRECTS} times")

    def url(self, host: str, path: str) -> str:
        """Returns the URL of the file."""
        authority = f"[{host}]" if ":" in host else host
        port = "" if self._port == _HTTP else f":{self._port}"
        return f"http://{authority}{port}{path}"

    def close(self) -> None:
        """Closes idle connections."""
        self._outbound.close()

    def _redirected(self, start: Target, url: str, location: str | None) -> str:
        """Returns the URL that `url` redirects to. Raises FileMissing if that is another file."""
        try:
            joined = urljoin(url, location or "")
            target = parse(joined)
        except (ValueError, TargetForbidden):
            raise FileMissing("it redirects to an invalid URL") from None
        port = self._port if target.scheme == "http" else _HTTPS
        if (target.host, target.path, target.port) != (start.host, start.path, port):
            raise FileMissing("it redirects to another host, port or path")
        return joined


def _file(page: GetResponse) -> bytes:
    if page.status != 200:
        raise FileMissing(f"the status was {page.status}, not 200")
    if not page.is_whole:
        raise FileMissing(f"the body has more than {MOST_BYTES} bytes")
    return page.body


__all__ = ["MOST_BYTES", "FileMissing", "HttpFiles", "TargetForbidden", "TargetUnreachable"]
