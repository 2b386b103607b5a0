"""A worker that is about to end says so, before it closes connections that clients are using."""

from falcon import Request, Response


class Leaving:
    """Once it has begun, each answer is its connection's last (RFC 9112, 9.6)."""

    def __init__(self) -> None:
        self._has_begun = False

    def begin(self) -> None:
        """From now on."""
        self._has_begun = True

    def process_response(
        self, req: Request, resp: Response, resource: object, req_succeeded: bool
    ) -> None:
        """The server's library closes a connection whose answer says so."""
        if self._has_begun:
            resp.set_header("Connection", "close")
