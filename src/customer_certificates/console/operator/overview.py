"""/console/overview"""

from datetime import timedelta
from typing import NamedTuple

from falcon import Request, Response

from ...services.access.permissions import OPERATORS
from ...services.fleet.summary import Summary
from ...services.fleet.summary_views import SummaryView
from ...services.terminators.states import STATES, TerminatorStates
from ...services.users.users import UserFilter, Users
from ...services.webhooks.backlog import Backlogs
from ..page import Page
from . import charts

# The fields of ByDays, their first and last days, and their kind.
_RANGES = (
    ("days_0_to_7", 0, 7, "bad"),
    ("days_8_to_30", 8, 30, "warn"),
    ("days_31_to_60", 31, 60, ""),
    ("days_61_to_90", 61, 90, ""),
    ("over_90_days", 91, None, ""),
)
_EXPIRED = "/console/expiring?within=0d"


class Row(NamedTuple):
    """A number of certificates, and the link to them."""

    label: str
    number: int
    link: str
    kind: str


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
            ranges=_ranges(summary),
            calendar=charts.calendar(summary.expiries),
            terminators={
                state: sum(number for (_, of), number in states.items() if of == state)
                for state in STATES
            },
            pending=pending,
            dead=dead,
        )


def _ranges(summary: SummaryView) -> list[Row]:
    """Returns the active certificates by days left, from the expired ones on."""
    numbers = summary.active_days
    rows = [Row("Expired", numbers.expired, _EXPIRED, "bad")]
    today = summary.as_of.date()
    for name, first, last, kind in _RANGES:
        # `status=active` leaves those out that expired earlier today.
        link = f"/console/certificates?status=active&expires_after={today + timedelta(first)}"
        label = f"More than {first - 1} days"
        if last is not None:
            link += f"&expires_before={today + timedelta(last + 1)}"
            label = f"{first} to {last} days"
        rows.append(Row(label, getattr(numbers, name), link, kind))
    if numbers.unreadable:
        rows.append(Row("Unreadable dates", numbers.unreadable, "", "warn"))
    return rows
