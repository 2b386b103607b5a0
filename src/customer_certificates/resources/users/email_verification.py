"""/users/{user_id}/email-verification, and the page behind the emailed link"""

from falcon import Request, Response

from ...errors import Conflict, NotFound, PreconditionFailed, TooManyRequests
from ...services.access.permissions import ANYBODY, OPERATORS, WHOLE_USER
from ...services.idempotency import Reply
from ...services.users.email_verifications import AddressState, EmailVerifications
from ...services.users.views import UserView
from ...web import etags, request_parsing, responses
from ...web.operations import IDEMPOTENCY_KEY, WRITE, Answer, operation
from ...web.resource import Resource
from . import verification_page

_PAGE = Answer("The page.", media_type="text/html")
_NOT_VALID = Answer("The link is unknown, used, replaced or expired.", media_type="text/html")


class UserEmailVerificationResource(Resource[EmailVerifications]):
    """The verification of a user's email address."""

    @operation(
        "Send a verification email",
        {202: Answer("The email is queued.")},
        description="The link in the email is valid for 24 hours. The service also sends this "
        "email when a user registers or changes the address.",
        parameters=[IDEMPOTENCY_KEY],
        refusals=[NotFound, Conflict, TooManyRequests],
        allow=WHOLE_USER,
    )
    def on_post(self, req: Request, resp: Response, user_id: int) -> None:
        idempotent = responses.idempotent(req, _queued)
        self._service.send(req.context.principal, user_id, idempotent)
        resp.status = 202

    @operation(
        "Mark the email address as verified or unverified",
        {200: Answer("The updated user.", UserView)},
        description="For operators who have verified the address in another way. Send the user's "
        "ETag in If-Match, so that a changed address is not marked as verified.",
        body=AddressState,
        parameters=WRITE,
        refusals=[NotFound, PreconditionFailed],
        allow=OPERATORS,
    )
    def on_put(self, req: Request, resp: Response, user_id: int) -> None:
        state = request_parsing.read(req, AddressState)
        idempotent, expected = responses.idempotent(req, responses.shown), etags.expected(req)
        view = self._service.set(req.context.principal, user_id, state, expected, idempotent)
        responses.send(resp, responses.shown(view))


class EmailVerificationLinkResource(Resource[EmailVerifications]):
    """The page of an emailed link.

    GET changes nothing, because mail scanners follow links. The button sends POST.
    """

    speaks_json = False

    @operation(
        "Show the page of a verification link",
        {200: _PAGE, 404: _NOT_VALID},
        allow=ANYBODY,
        allows_other_parameters=True,
    )
    def on_get(self, _req: Request, resp: Response, verification_token: str) -> None:
        address = self._service.address(verification_token)
        if address is None:
            verification_page.send_not_valid(resp)
        else:
            verification_page.send_question(resp, address)

    @operation(
        "Verify the email address of a verification link",
        {200: _PAGE, 404: _NOT_VALID},
        description="The button on the page sends this request. The body is ignored.",
        allow=ANYBODY,
        allows_other_parameters=True,
    )
    def on_post(self, req: Request, resp: Response, verification_token: str) -> None:
        address = self._service.confirm(req.context.principal, verification_token)
        if address is None:
            verification_page.send_not_valid(resp)
        else:
            verification_page.send_done(resp, address)


def _queued(_nothing: None) -> Reply:
    return Reply(202)
