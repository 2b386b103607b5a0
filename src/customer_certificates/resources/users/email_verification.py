"""/users/{user_id}/email-verification, and the page that a mailed link opens"""

from falcon import Request, Response

from ...errors import Conflict, NotFound, PreconditionFailed, TooManyRequests
from ...services.access.permissions import ANYBODY, OPERATORS, WHOLE_USER
from ...services.idempotency import Reply
from ...services.users.email_verifications import AddressState, EmailVerifications
from ...services.users.views import UserView
from ...web import etags, request_parsing, responses
from ...web.operations import IDEMPOTENCY_KEY, IF_MATCH, Answer, operation
from . import verification_page

_PAGE = Answer("The page.", media_type="text/html")
_NOT_VALID = Answer("The link is unknown, used, replaced or expired.", media_type="text/html")


class UserEmailVerificationResource:
    """Whether a user's address is verified."""

    def __init__(self, verifications: EmailVerifications) -> None:
        self._verifications = verifications

    @operation(
        "Mail a link that verifies the address",
        {202: Answer("The mail is queued.")},
        description="The link is valid for 24 hours. A link is mailed without this request when a "
        "user is registered, or its address is changed.",
        parameters=[IDEMPOTENCY_KEY],
        refusals=[NotFound, Conflict, TooManyRequests],
        allow=WHOLE_USER,
    )
    def on_post(self, req: Request, resp: Response, user_id: int) -> None:
        once = responses.once(req, _queued)
        self._verifications.send(req.context.caller, user_id, once)
        resp.status = 202

    @operation(
        "Say whether the address is verified",
        {200: Answer("The user as it is now.", UserView, headers=("ETag",))},
        description="For operators who know that the address is the user's. Send the ETag of the "
        "user (If-Match), so that an address that was changed meanwhile is not verified.",
        body=AddressState,
        parameters=[IF_MATCH, IDEMPOTENCY_KEY],
        refusals=[NotFound, PreconditionFailed],
        allow=OPERATORS,
    )
    def on_put(self, req: Request, resp: Response, user_id: int) -> None:
        wanted = request_parsing.read(req, AddressState)
        once = responses.once(req, responses.shown)
        expected = etags.expected(req)
        view = self._verifications.set(req.context.caller, user_id, wanted, expected, once)
        responses.send(resp, responses.shown(view))


class EmailVerificationLinkResource:
    """A mailed link. To open it changes nothing, since mail scanners follow links; the button on
    the page does."""

    speaks_json = False

    def __init__(self, verifications: EmailVerifications) -> None:
        self._verifications = verifications

    @operation(
        "Show the page of a mailed link",
        {200: _PAGE, 404: _NOT_VALID},
        allow=ANYBODY,
        allows_other_parameters=True,
    )
    def on_get(self, _req: Request, resp: Response, verification_token: str) -> None:
        address = self._verifications.address(verification_token)
        if address is None:
            verification_page.send_not_valid(resp)
        else:
            verification_page.send_question(resp, address)

    on_head = on_get

    @operation(
        "Verify the address of a mailed link",
        {200: _PAGE, 404: _NOT_VALID},
        description="The button on the page sends this. It reads no body.",
        allow=ANYBODY,
        allows_other_parameters=True,
    )
    def on_post(self, req: Request, resp: Response, verification_token: str) -> None:
        address = self._verifications.confirm(req.context.caller, verification_token)
        if address is None:
            verification_page.send_not_valid(resp)
        else:
            verification_page.send_done(resp, address)


def _queued(_nothing: None) -> Reply:
    return Reply(202)
