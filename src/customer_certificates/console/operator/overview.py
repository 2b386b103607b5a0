"""/console/overview"""

from falcon import Request, Response

from ...services.access.permissions import OPERATORS
from ...services.fleet.summary import Summary
from ...services.terminators.states import STATES, TerminatorStates
from ...services.users.users import UserFilter, Users
from ...services.webhooks.backlog import MOST_COUNTED, Backlogs
from ..page import Page
from . import charts


class OverviewPage(Page):
    """The certificates of all users at a glance. Without any, the first steps."""

    allow = OPERATORS

    def __init__(
        self, summary: Summary, states: TerminatorStates, backlogs: Backlogs, users: Users
    ) -> None:
        self._summary = summary
        self._states = states
        self._backlogs = backlogs
        self._users = users

    def on_get(self, req: Request, resp: Response) -> None:
        summary = self._summary.read()
        states = self._states.count()
        if summary.certificates == 0:
            users = self._users.page(UserFilter(), 0, 1).items
            self.show(req, resp, "operator/first_steps.html", first=users[0] if users else None)
            return
        pending, dead = self._backlogs.total()
        self.show(
            req,
            resp,
            "operator/overview.html",
            summary=summary,
            calendar=charts.calendar(summary.expiries),
            terminators={
                state: sum(number for (_, of), number in states.items() if of == state)
                for state in STATES
            },
            pending=pending,
            dead=dead,
            most_counted=MOST_COUNTED,
        )
