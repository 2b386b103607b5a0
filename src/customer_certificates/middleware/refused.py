"""Requests that the HTTP server refuses: answered and logged as all others are."""

import falcon
from falcon import Request, Response

from ..errors import TooSlow

# The status, in the environment of a request that is not to be carried out.
STATUS = "http_server.refused"
_DETAILS = {
    400: "The request is not valid HTTP/1.1, or it ends too early.",
    431: "The headers are too large. Send at most 100 headers and 32 KiB.",
}


class Refused:
    """Of such a request, what follows the place of its error is not known."""

    def process_request(self, req: Request, resp: Response) -> None:
        """Raises TooSlow or HTTPError if the server has refused the request."""
        status = req.env.get(STATUS)
        if status == 408:
            raise TooSlow("The request arrived too slowly. Send it again, faster.")
        if status is not None:
            raise falcon.HTTPError(status, description=_DETAILS.get(status))
