"""/audit and /users/{user_id}/audit"""

from falcon import Request, Response

from ..errors import Invalid, NotFound
from ..services.access.permissions import OPERATORS, users
from ..services.audit.hash_chain import NOBODY
from ..services.audit.listing import AuditPages
from ..services.audit.views import AuditView
from ..web import pagination
from ..web.operations import LIMIT, Answer, Parameter, operation
from ..web.resource import Resource

_AFTER = Parameter(
    "after",
    "Return only entries with a greater `seq`. Use the last `seq` of the previous page.",
    {"type": "integer", "minimum": 0, "maximum": 2**63 - 1, "default": 0},
)


class UserAuditResource(Resource[AuditPages]):
    """The audit log of a user."""

    @operation(
        "List audit log entries of a user",
        {200: Answer("Entries by seq, oldest first.", list[AuditView], headers=("Link",))},
        description="Each write has an entry, even if it changed nothing or was rejected because "
        "of stored data. The entries are kept after the user is deleted.",
        parameters=[LIMIT, _AFTER],
        refusals=[NotFound, Invalid],
        allow=users("audit:read"),
    )
    def on_get(self, req: Request, resp: Response, user_id: int) -> None:
        _answer(self._service, req, resp, user_id)


class AuditResource(Resource[AuditPages]):
    """The audit log of the service."""

    @operation(
        "List audit log entries that belong to no user",
        {200: Answer("Entries by seq, oldest first.", list[AuditView], headers=("Link",))},
        parameters=[LIMIT, _AFTER],
        refusals=[Invalid],
        allow=OPERATORS,
    )
    def on_get(self, req: Request, resp: Response) -> None:
        _answer(self._service, req, resp, NOBODY)


def _answer(audit: AuditPages, req: Request, resp: Response, chain: int) -> None:
    pagination.send(req, resp, audit.page(chain, *pagination.requested(req)))
