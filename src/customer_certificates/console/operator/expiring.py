"""/console/expiring"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

from falcon import Request, Response

from ...services.access.permissions import OPERATORS
from ...services.fleet.expiring import FleetExpiring
from ...web import pagination
from .. import forms
from ..page import Page

_LIMIT = 100
Covered = Literal["false", "true", "all"]
_COVERED: dict[Covered, bool | None] = {"false": False, "true": True, "all": None}


class ExpiringPage(Page):
    """The active certificates of all users that expire soon.

    By default, those without a replacement.
    """

    allow = OPERATORS

    def __init__(self, expiring: FleetExpiring, now: Callable[[], datetime]) -> None:
        self._expiring = expiring
        self._now = now

    def on_get(self, req: Request, resp: Response) -> None:
        query = forms.query(req)
        within = timedelta(days=query.days("within", 30))
        after, _ = pagination.slice_by_cursor(query)
        choice = query.choice("covered", Covered) or "false"
        query.check()
        page = self._expiring.page(within, after, _LIMIT, _COVERED[choice])
        self.show(
            req,
            resp,
            "operator/expiring.html",
            days=within.days,
            choice=choice,
            certificates=page.items,
            next_after=page.next_after,
            now=self._now(),
        )
