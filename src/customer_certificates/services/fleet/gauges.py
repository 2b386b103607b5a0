"""Computes the gauges of the fleet in a background worker."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from math import nan
from time import monotonic
from typing import Any

from msgspec.structs import asdict
from sqlalchemy import func, literal_column, select

from ...gateways.database import Database, time_param
from ...gateways.fleet_metrics import FleetMetrics
from ...models import Certificate, HostnameChallenge, HostnameClaim
from ..terminators.states import TerminatorStates
from ..webhooks.backlog import Backlogs
from .replacements import Replacements
from .summary import Summary

_EVERY_SECONDS = 60.0
# Workers make cutovers every second.
_OVERDUE_AFTER = timedelta(minutes=1)

# The labels of the ranges in the summary.
_DAYS = {
    "expired": "expired",
    "days_0_to_7": "0-7",
    "days_8_to_30": "8-30",
    "days_31_to_60": "31-60",
    "days_61_to_90": "61-90",
    "over_90_days": "over 90",
    "unreadable": "unreadable",
}
# For each gauge, its values by tuples of labels.
Values = Mapping[str, Mapping[Any, float]]


class FleetGauges:
    """Publishes the gauges. They take one statement, or several short ones.

    Every background worker computes all of them: a value that another process computed would be
    wrong after that process ends.
    """

    def __init__(
        self,
        database: Database,
        summary: Summary,
        states: TerminatorStates,
        backlogs: Backlogs,
        metrics: FleetMetrics,
        now: Callable[[], datetime],
        *,
        every_seconds: float = _EVERY_SECONDS,
    ) -> None:
        self._metrics = metrics
        self._now = now
        self._every_seconds = every_seconds
        self._summary = summary
        self._states = states
        self._backlogs = backlogs
        self._replacements = Replacements(database, now)
        self._hostnames = database.prepare(_hostnames(), tenant=None)
        self._cutovers = database.prepare(_cutovers(), tenant=None)
        self._soonest_expiry = database.prepare(_soonest_expiry(), tenant=None)
        self._due_at: dict[Callable[[], Values], float] = dict.fromkeys(
            (
                self._count_certificates,
                self._find_soonest_expiry,
                self._count_hostnames,
                self._count_cutovers,
                self._count_deliveries,
                self._count_terminators,
            ),
            0.0,
        )

    def run(self) -> int:
        """Publishes gauges that are due, and continues the sweep. Call it every second.

        Returns 0, because nothing is worth a line in the log. Raises Unavailable: then the other
        gauges are due in the next run, and the failed one later.
        """
        for compute, due_at in self._due_at.items():
            if monotonic() >= due_at:
                self._due_at[compute] = monotonic() + self._every_seconds
                # Before the statement, so that the time is never later than what it saw.
                now = self._now()
                for name, values in compute().items():
                    self._metrics.publish(name, values, now)
        if sweep := self._replacements.advance():
            counts = {(window,): number for window, number in sweep.counts.items()}
            self._metrics.publish("certificates_without_replacement", counts, sweep.as_of)
        return 0

    def _count_certificates(self) -> Values:
        summary = self._summary.read()
        by_days = asdict(summary.active_days)
        return {
            "certificates": {(name,): number for name, number in asdict(summary.status).items()},
            "active_certificates": {(label,): by_days[name] for name, label in _DAYS.items()},
        }

    def _find_soonest_expiry(self) -> Values:
        ((soonest,),) = self._soonest_expiry(now=self._now())
        return {"soonest_expiry_timestamp_seconds": {(): soonest.timestamp() if soonest else nan}}

    def _count_hostnames(self) -> Values:
        ((unproven, contested),) = self._hostnames()
        return {"hostnames": {("unproven",): unproven, ("contested",): contested}}

    def _count_cutovers(self) -> Values:
        ((scheduled, overdue),) = self._cutovers(before=self._now() - _OVERDUE_AFTER)
        return {"cutovers": {("scheduled",): scheduled, ("overdue",): overdue}}

    def _count_deliveries(self) -> Values:
        pending, dead = self._backlogs.total()
        return {"deliveries": {("pending",): pending, ("dead",): dead}}

    def _count_terminators(self) -> Values:
        return {"terminators": self._states.count()}


def _soonest_expiry() -> Any:
    later = Certificate.active, Certificate.not_after > time_param("now")
    return select(func.min(Certificate.not_after)).where(*later)


# Statuses are literals, because a prepared statement with parameters would not use a partial index.
def _hostnames() -> Any:
    unproven = HostnameClaim.proof == literal_column("'none'")
    contested = HostnameChallenge.state == literal_column("'contesting'")
    return select(_number(unproven), _number(contested))


def _cutovers() -> Any:
    scheduled = Certificate.activate_at.is_not(None)
    overdue = Certificate.activate_at <= time_param("before")
    return select(_number(scheduled), _number(scheduled, overdue))


def _number(*conditions: Any) -> Any:
    return select(func.count()).where(*conditions).scalar_subquery()
