"""/users/{user_id}/hostnames/{hostname}/challenge"""

from falcon import Request, Response

from ..errors import Conflict, NotFound, TooManyRequests
from ..services.access.permissions import users
from ..services.challenges.service import Challenges
from ..services.challenges.views import ChallengeView
from ..services.etags import encode
from ..web import responses
from ..web.operations import Answer, operation
from ..web.resource import Resource

_SHOWN = Answer("The records to create, and the status of the challenge.", ChallengeView)


class ChallengeResource(Resource[Challenges]):
    """The challenge that proves control of a hostname."""

    @operation(
        "Create a challenge that proves control of a hostname",
        {
            201: Answer("A new challenge. Create one of its records.", ChallengeView),
            200: Answer("A challenge exists and has not expired.", ChallengeView),
        },
        description="Create one of the records, then verify. The service also checks periodically "
        "for 72 hours. A record proves exactly this hostname, for this user. A verified challenge "
        "is kept and rechecked each week (docs/how-to/hostnames.md).",
        refusals=[NotFound, Conflict],
        allow=users("certificates:write"),
    )
    def on_post(self, req: Request, resp: Response, user_id: int, hostname: str) -> None:
        view, is_new = self._service.create(req.context.principal, user_id, hostname)
        resp.status = 201 if is_new else 200
        resp.data = encode(view)

    @operation(
        "Show a challenge", {200: _SHOWN}, refusals=[NotFound], allow=users("certificates:read")
    )
    def on_get(self, req: Request, resp: Response, user_id: int, hostname: str) -> None:
        responses.send_uncached(resp, self._service.get(user_id, hostname))

    @operation(
        "Delete a challenge",
        {204: Answer("Deleted. Its records are no longer valid as proof.")},
        description="The user keeps the hostname, but without proof of control. Another user can "
        "take it with a verified challenge.",
        refusals=[NotFound],
        allow=users("certificates:write"),
    )
    def on_delete(self, req: Request, resp: Response, user_id: int, hostname: str) -> None:
        self._service.delete(req.context.principal, user_id, hostname)
        resp.status = 204


class VerifyResource(Resource[Challenges]):
    """A check of a challenge."""

    @operation(
        "Check a challenge now",
        {
            200: Answer(
                "The result of the check, and the new status of the challenge.", ChallengeView
            )
        },
        description="Looks up the records in DNS and over HTTP, which may take ten seconds. All "
        "DNS resolvers of the service must return the record.",
        refusals=[NotFound, Conflict, TooManyRequests],
        allow=users("certificates:write"),
    )
    def on_post(self, req: Request, resp: Response, user_id: int, hostname: str) -> None:
        resp.data = encode(self._service.verify(req.context.principal, user_id, hostname))
