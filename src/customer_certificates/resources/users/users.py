"""/users and /users/{user_id}"""

from typing import Annotated

import msgspec
from falcon import Request, Response

from ...errors import Conflict, Invalid, NotFound, PreconditionFailed, TooManyRequests
from ...field_docs import doc
from ...services.access.permissions import OPERATORS, REGISTRATION, WHOLE_USER, users
from ...services.etags import encode
from ...services.idempotency import Reply
from ...services.labels import ExternalId
from ...services.users.users import Email, NewUser, UserChanges, UserFilter, Users
from ...services.users.views import UserView
from ...web import etags, pagination, request_parsing, responses
from ...web.operations import (
    IDEMPOTENCY_KEY,
    IF_NONE_MATCH,
    LABEL,
    PAGE,
    WRITE,
    Answer,
    Parameter,
    operation,
)
from ...web.resource import Resource

_EMAIL = Parameter(
    "email",
    "Return only the user with this email address. Case is ignored.",
    msgspec.json.schema(Email),
)


_EXTERNAL_ID = Parameter(
    "external_id",
    "Return only the user with this external id.",
    {"type": "string", "minLength": 1, "maxLength": 255, "examples": ["customer-4711"]},
)


class Created(msgspec.Struct):
    """The id of the new user."""

    id: Annotated[int, doc("The user's id.", 1, ge=1)]


class UsersResource(Resource[Users]):
    """All users."""

    @operation(
        "Register a user",
        {201: Answer("Registered.", Created, headers=("Location",))},
        body=NewUser,
        parameters=[IDEMPOTENCY_KEY],
        description="Without credentials (`CC_REGISTRATION=open`), 20 users may register from one "
        "address (IPv6: /64 network) in 24 hours.",
        refusals=[Conflict, TooManyRequests],
        allow=REGISTRATION,
    )
    def on_post(self, req: Request, resp: Response) -> None:
        new = request_parsing.read(req, NewUser)
        idempotent = responses.idempotent(req, _registered)
        user_id = self._service.register(req.context.principal, new, idempotent)
        responses.send(resp, _registered(user_id))

    @operation(
        "List users",
        {200: Answer("Users by id.", list[UserView], headers=("Link",))},
        parameters=[_EMAIL, _EXTERNAL_ID, LABEL, *PAGE, IF_NONE_MATCH],
        refusals=[Invalid],
        allow=OPERATORS,
    )
    def on_get(self, req: Request, resp: Response) -> None:
        query = request_parsing.Query(req)
        after, limit = pagination.slice_of(query)
        email = query.text("email", Email, "an email address", "ada@example.com")
        external_id = query.text("external_id", ExternalId, "an external id", "customer-4711")
        criteria = UserFilter(email, external_id, query.labels())
        query.check()
        page = self._service.page(criteria, after, limit)
        pagination.link_next(req, resp, page.next_after)
        etags.answer(req, resp, page.items)


class UserResource(Resource[Users]):
    """One user."""

    @operation(
        "Show a user",
        {200: Answer("The user.", UserView)},
        parameters=[IF_NONE_MATCH],
        refusals=[NotFound],
        allow=users(),
    )
    def on_get(self, req: Request, resp: Response, user_id: int) -> None:
        etags.answer(req, resp, self._service.get(user_id, req.context.principal.target_user))

    @operation(
        "Update a user",
        {200: Answer("The updated user.", UserView)},
        body=UserChanges,
        parameters=WRITE,
        refusals=[NotFound, Conflict, PreconditionFailed],
        allow=WHOLE_USER,
    )
    def on_patch(self, req: Request, resp: Response, user_id: int) -> None:
        changes = request_parsing.read(req, UserChanges)
        idempotent, expected = responses.idempotent(req, responses.shown), etags.expected(req)
        view = self._service.change(req.context.principal, user_id, changes, expected, idempotent)
        responses.send(resp, responses.shown(view))

    @operation(
        "Delete a user, including all certificates and keys",
        {204: Answer("Deleted.")},
        parameters=WRITE,
        refusals=[NotFound, PreconditionFailed],
        allow=WHOLE_USER,
    )
    def on_delete(self, req: Request, resp: Response, user_id: int) -> None:
        idempotent = responses.idempotent(req, responses.deleted)
        self._service.delete(req.context.principal, user_id, etags.expected(req), idempotent)
        resp.status = 204


def _registered(user_id: int) -> Reply:
    return Reply(201, encode(Created(user_id)), f"/users/{user_id}")
