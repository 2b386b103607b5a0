"""/users/{user_id}/events"""

from falcon import Request, Response

from ..errors import Invalid, NotFound
from ..services.access.permissions import users
from ..services.events.listing import EventPages
from ..services.events.views import EventView
from ..web import pagination
from ..web.operations import PAGE, Answer, operation
from ..web.resource import Resource


class EventsResource(Resource[EventPages]):
    """The events of a user."""

    @operation(
        "List events",
        {200: Answer("Events by id, oldest first.", list[EventView], headers=("Link",))},
        description="The events that webhooks receive, and events without a recipient. Events are "
        "kept for 90 days, even after the user is deleted.",
        parameters=PAGE,
        refusals=[NotFound, Invalid],
        allow=users("certificates:read"),
    )
    def on_get(self, req: Request, resp: Response, user_id: int) -> None:
        page = self._service.page(user_id, *pagination.requested(req))
        pagination.send(req, resp, page)
