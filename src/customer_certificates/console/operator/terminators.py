"""/console/terminators"""

from collections.abc import Callable
from datetime import datetime

from falcon import Request, Response

from ...services.access.permissions import OPERATORS
from ...services.terminators.listing import MOST_SERVED, TerminatorPages
from ...services.terminators.reports import TerminatorReports
from ...services.terminators.states import TerminatorStates
from .. import forms
from ..page import Page, ServicePage, redirect

# Each may report 100 errors of 1,000 characters.
_LIMIT, _ERRORS, _ERROR_CHARACTERS = 50, 3, 200


class TerminatorsPage(Page):
    """The terminators that have reported, and how far each lags."""

    allow = OPERATORS

    def __init__(
        self, terminators: TerminatorPages, states: TerminatorStates, now: Callable[[], datetime]
    ) -> None:
        self._terminators = terminators
        self._states = states
        self._now = now

    def on_get(self, req: Request, resp: Response) -> None:
        query = forms.query(req)
        after = query.whole("after", 0, 0)
        query.check()
        page = self._terminators.page(after, _LIMIT)
        ids = [terminator.id for terminator in page.items]
        self.show(
            req,
            resp,
            "operator/terminators.html",
            terminators=page.items,
            next_after=page.next_after,
            now=self._now(),
            server=req.prefix,
            states=self._states.of(ids),
            served=self._terminators.served(ids),
            most_served=MOST_SERVED,
            most_errors=_ERRORS,
            most_characters=_ERROR_CHARACTERS,
        )


class DeleteTerminatorPage(ServicePage[TerminatorReports]):
    """The button that deletes a terminator and its reports."""

    allow = OPERATORS

    def on_post(self, req: Request, resp: Response, terminator_id: int) -> None:
        self._service.delete(req.context.principal, terminator_id)
        redirect(resp, "/console/terminators?done=deleted")
