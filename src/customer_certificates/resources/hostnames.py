"""/users/{user_id}/hostnames and /hostnames"""

from falcon import Request, Response

from ..errors import Conflict, Invalid, NotFound
from ..services.access.permissions import OPERATORS, users
from ..services.etags import encode
from ..services.hostnames.owners import HostnameGrant, HostnameOwners, HostnameView
from ..web import pagination, request_parsing, responses
from ..web.operations import LIMIT, Answer, Parameter, operation
from ..web.resource import Resource

_AFTER = Parameter(
    "after",
    "Return only hostnames that sort after this one. Use the last hostname of the previous page.",
    {"type": "string", "minLength": 1, "maxLength": 253, "examples": ["www.example.com"]},
)
_HOSTNAME = Parameter(
    "hostname",
    "Return only this hostname and the wildcard that covers it.",
    {"type": "string", "minLength": 1, "maxLength": 253, "examples": ["www.example.com"]},
)
_LIST = {200: Answer("Hostnames, sorted.", list[HostnameView], headers=("Link",))}


class UserHostnamesResource(Resource[HostnameOwners]):
    """The hostnames of a user."""

    @operation(
        "List the hostnames of a user",
        _LIST,
        parameters=[LIMIT, _AFTER],
        refusals=[Invalid, NotFound],
        allow=users("certificates:read"),
    )
    def on_get(self, req: Request, resp: Response, user_id: int) -> None:
        query = request_parsing.Query(req)
        after, limit = pagination.slice_by_hostname(query)
        query.check()
        views, next_after = self._service.page(user_id, after, limit)
        pagination.link_next(req, resp, next_after)
        responses.send_uncached(resp, views)


class UserHostnameResource(Resource[HostnameOwners]):
    """One hostname of a user."""

    @operation(
        "Release a hostname",
        {204: Answer("The hostname is released.")},
        description="A hostname of an active certificate cannot be released.",
        refusals=[NotFound, Conflict],
        allow=users("certificates:write"),
    )
    def on_delete(self, req: Request, resp: Response, user_id: int, hostname: str) -> None:
        self._service.release_own(req.context.principal, user_id, hostname)
        resp.status = 204


class HostnamesResource(Resource[HostnameOwners]):
    """The hostnames of all users."""

    @operation(
        "List hostnames and their owners",
        _LIST,
        parameters=[_HOSTNAME, LIMIT, _AFTER],
        refusals=[Invalid],
        allow=OPERATORS,
    )
    def on_get(self, req: Request, resp: Response) -> None:
        query = request_parsing.Query(req)
        after, limit = pagination.slice_by_hostname(query)
        hostname = query.hostname("hostname") if query.has("hostname") else None
        query.check()
        if hostname is not None:
            responses.send_uncached(resp, self._service.find(hostname))
            return
        views, next_after = self._service.page(None, after, limit)
        pagination.link_next(req, resp, next_after)
        responses.send_uncached(resp, views)


class HostnameResource(Resource[HostnameOwners]):
    """One hostname."""

    @operation(
        "Grant a hostname to a user",
        {200: Answer("The hostname and its new owner.", HostnameView)},
        description="If another user owns the hostname, that user loses it and is notified.",
        body=HostnameGrant,
        refusals=[NotFound, Conflict],
        allow=OPERATORS,
    )
    def on_put(self, req: Request, resp: Response, hostname: str) -> None:
        grant = request_parsing.read(req, HostnameGrant)
        resp.data = encode(self._service.grant(req.context.principal, hostname, grant.user_id))

    @operation(
        "Release a hostname of any user",
        {204: Answer("The hostname is released, even if it was in use.")},
        refusals=[NotFound],
        allow=OPERATORS,
    )
    def on_delete(self, req: Request, resp: Response, hostname: str) -> None:
        self._service.release_any(req.context.principal, hostname)
        resp.status = 204
