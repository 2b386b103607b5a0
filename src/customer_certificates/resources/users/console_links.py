"""/users/{user_id}/console-links"""

from falcon import Request, Response

from ...errors import Conflict, NotFound
from ...services.access.console_links import ConsoleLinks, ConsoleLinkView, NewConsoleLink
from ...services.access.permissions import OPERATORS
from ...web import request_parsing, responses
from ...web.operations import Answer, operation
from ...web.resource import Resource


class ConsoleLinksResource(Resource[ConsoleLinks]):
    """Links that open a user's console."""

    @operation(
        "Create a link to a user's console",
        {201: Answer("Created. The link is shown only once.", ConsoleLinkView)},
        description="For portals: the link signs the user in to the console. It works once, within "
        "60 seconds. Create it when the user asks for it, and redirect the browser there.",
        body=NewConsoleLink,
        refusals=[NotFound, Conflict],
        allow=OPERATORS,
    )
    def on_post(self, req: Request, resp: Response, user_id: int) -> None:
        new = request_parsing.read(req, NewConsoleLink)
        resp.status = 201
        responses.send_uncached(resp, self._service.create(req.context.principal, user_id, new))
