"""/console/audit"""

from typing import get_args

from falcon import Request, Response

from ...services.access.permissions import OPERATORS
from ...services.audit.hash_chain import NOBODY
from ...services.audit.listing import ActionKind, AuditFilter, AuditPages, Outcome
from .. import forms
from ..page import ServicePage

_LIMIT = 50


class AuditPage(ServicePage[AuditPages]):
    """The audit log of a user, or of the service, the newest entry first."""

    allow = OPERATORS

    def on_get(self, req: Request, resp: Response) -> None:
        query = forms.query(req)
        chain = query.whole("user", NOBODY, 1)
        criteria = AuditFilter(query.choice("kind", ActionKind), query.choice("outcome", Outcome))
        before = query.whole("before", 0, 1) or None
        query.check()
        page = self._service.search(chain, criteria, before, _LIMIT)
        self.show(
            req,
            resp,
            "operator/audit.html",
            chain=chain,
            entries=page.items,
            next_before=page.next_before,
            kinds=get_args(ActionKind),
            outcomes=get_args(Outcome),
        )
