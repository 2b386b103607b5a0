"""/tokens and /tokens/{token_id}"""

from falcon import Request, Response

from ...errors import Conflict, Invalid, NotFound, TooManyRequests
from ...services.access.permissions import PASSWORD, users
from ...services.access.tokens import NewToken, NewTokenView, Tokens, TokenView
from ...web import pagination, request_parsing, responses
from ...web.operations import PAGE, Answer, Parameter, operation
from ...web.resource import Resource

_USER_ID = Parameter(
    "user_id",
    "Return only this user's tokens. Users always see only their own.",
    {"type": "integer", "minimum": 1, "maximum": 2**63 - 1},
)


class TokensResource(Resource[Tokens]):
    """API tokens."""

    @operation(
        "Create a token",
        {
            201: Answer(
                "Created. The token is shown only once.", NewTokenView, headers=("Location",)
            )
        },
        description="Users create their own tokens with their email address and password (HTTP "
        "Basic). Operators create tokens of every kind with an operator token.",
        body=NewToken,
        refusals=[Conflict, TooManyRequests],
        allow=PASSWORD,
    )
    def on_post(self, req: Request, resp: Response) -> None:
        created = self._service.create(req.context.principal, request_parsing.read(req, NewToken))
        resp.status = 201
        resp.location = f"/tokens/{created.id}"
        responses.send_uncached(resp, created)

    @operation(
        "List tokens",
        {200: Answer("Tokens by id, without their secrets.", list[TokenView], headers=("Link",))},
        description="Users see their own tokens. Operators see all tokens.",
        parameters=[_USER_ID, *PAGE],
        refusals=[Invalid],
        allow=users(),
    )
    def on_get(self, req: Request, resp: Response) -> None:
        query = request_parsing.Query(req)
        after, limit = pagination.slice_of(query)
        user_id = query.whole("user_id", 0, 1) or None
        query.check()
        page = self._service.page(req.context.principal, user_id, after, limit)
        resp.set_header("Cache-Control", "no-store")
        pagination.send(req, resp, page)


class TokenResource(Resource[Tokens]):
    """One token."""

    @operation(
        "Revoke a token",
        {204: Answer("Revoked. The next request with the token is rejected.")},
        description="A token can revoke itself. A token with every scope can revoke its user's "
        "other tokens.",
        refusals=[NotFound],
        allow=users(),
    )
    def on_delete(self, req: Request, resp: Response, token_id: int) -> None:
        self._service.revoke(req.context.principal, token_id)
        resp.status = 204
