"""Responds to requests that the HTTP server rejected, so that they are logged."""

import falcon
from falcon import Request, Response

from ..errors import TooSlow

# The WSGI environment key with the status of a rejected request.
STATUS = "http_server.refused"
_DETAILS = {
    400: "The request is not valid HTTP/1.1, or it ends too early.",
    431: "The headers are too large. Send at most 100 headers and 32 KiB.",
    505: "The version of HTTP is not supported. Use HTTP/1.1.",
}


class Refused:
    """Raises the error of a request that the HTTP server rejected.

    The request is incomplete, because the server stopped parsing at the error.
    """

    def process_request(self, req: Request, resp: Response) -> None:
        """Raises TooSlow or HTTPError if the server rejected the request."""
        status = req.env.get(STATUS)
        if status == 408:
            raise TooSlow("The request arrived too slowly. Send it again, faster.")
        if status is not None:
            raise falcon.HTTPError(status, description=_DETAILS.get(status))
