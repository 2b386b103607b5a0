"""/console/certificates"""

from collections.abc import Callable
from datetime import datetime
from typing import get_args

from falcon import Request, Response

from ...pki.submission import Trust
from ...services.access.permissions import OPERATORS
from ...services.certificates.views import Status
from ...services.fleet.search import Fleet
from ...web import filters, pagination
from .. import forms
from ..page import Page

_LIMIT = 50
# The fields that are shown at once. The others are shown if they are used.
_FIRST = frozenset({"hostname", "status", "trust", "after", "done"})


class SearchPage(Page):
    """A search for certificates of all users."""

    allow = OPERATORS

    def __init__(self, fleet: Fleet, now: Callable[[], datetime]) -> None:
        self._fleet = fleet
        self._now = now

    def on_get(self, req: Request, resp: Response) -> None:
        query = forms.query(req)
        params = forms.params_of(req)
        for name in ("expires_after", "expires_before"):
            day = params.get(name)
            if isinstance(day, str) and len(day) == len("2026-12-24"):
                params[name] = f"{day}T00:00:00Z"
        criteria = filters.fleet_filter_of(query)
        after, _ = pagination.slice_by_cursor(query)
        query.check()
        page = self._fleet.page(criteria, after, _LIMIT)
        self.show(
            req,
            resp,
            "operator/certificates.html",
            certificates=page.items,
            next_after=page.next_after,
            now=self._now(),
            statuses=get_args(Status),
            trusts=get_args(Trust),
            shows_all_fields=bool(params.keys() - _FIRST),
        )
