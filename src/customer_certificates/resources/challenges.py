"""/users/{user_id}/hostnames/{hostname}/challenge"""

from falcon import Request, Response

from ..errors import Conflict, NotFound, TooManyRequests
from ..services.access.permissions import users
from ..services.challenges.service import Challenges
from ..services.challenges.views import ChallengeView
from ..services.etags import encode
from ..web.operations import Answer, operation

_SHOWN = Answer("The records to set, and how the challenge stands.", ChallengeView)


class ChallengeResource:
    """How a user proves control of a hostname."""

    def __init__(self, challenges: Challenges) -> None:
        self._challenges = challenges

    @operation(
        "Ask for a challenge that proves control of a hostname",
        {
            201: Answer("A new challenge: set one of its records.", ChallengeView),
            200: Answer("There is one that has not expired.", ChallengeView),
        },
        description="Set one of the records, then verify. The service also checks by itself, for "
        "72 hours. A record proves exactly this hostname, for this user. A verified challenge is "
        "kept, and checked again each week (docs/how-to/hostnames.md).",
        refusals=[NotFound, Conflict],
        allow=users("certificates:write"),
    )
    def on_post(self, req: Request, resp: Response, user_id: int, hostname: str) -> None:
        view, is_new = self._challenges.create(req.context.caller, user_id, hostname)
        resp.status = 201 if is_new else 200
        resp.data = encode(view)

    @operation(
        "Show a challenge",
        {200: _SHOWN},
        refusals=[NotFound],
        allow=users("certificates:read"),
    )
    def on_get(self, req: Request, resp: Response, user_id: int, hostname: str) -> None:
        resp.set_header("Cache-Control", "no-store")
        resp.data = encode(self._challenges.get(user_id, hostname))

    on_head = on_get

    @operation(
        "Delete a challenge",
        {204: Answer("Deleted. Its records prove nothing any more.")},
        description="The hostname stays the user's, but nothing shows any more that the user still "
        "controls it: another user's challenge can take it.",
        refusals=[NotFound],
        allow=users("certificates:write"),
    )
    def on_delete(self, req: Request, resp: Response, user_id: int, hostname: str) -> None:
        self._challenges.delete(req.context.caller, user_id, hostname)
        resp.status = 204


class VerifyResource:
    """A check of a challenge."""

    def __init__(self, challenges: Challenges) -> None:
        self._challenges = challenges

    @operation(
        "Check a challenge now",
        {200: Answer("What was seen, and how the challenge stands then.", ChallengeView)},
        description="Looks for the records in DNS and over HTTP, which may take ten seconds. All "
        "DNS resolvers of the service must show the record.",
        refusals=[NotFound, Conflict, TooManyRequests],
        allow=users("certificates:write"),
    )
    def on_post(self, req: Request, resp: Response, user_id: int, hostname: str) -> None:
        resp.data = encode(self._challenges.verify(req.context.caller, user_id, hostname))
