"""Follows the replacement of certificates that a CA revokes, or whose key is compromised."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from ...errors import Conflict
from ...gateways.database import Database
from ...gateways.database.sql_functions import as_json, ids_as_json, names_of
from ..pages import Page
from .incident_statements import (
    COVERED,
    COVERED_BY_VERIFIED,
    Kind,
    affected_ids,
    last_event_before,
    notified_ids,
    states,
)
from .incident_views import AffectedView, IncidentCounts, IncidentView

# The longest time that the CA/Browser Forum gives a CA to revoke a certificate.
_DEFAULT_SINCE = timedelta(days=5)
_AT_ONCE = 1000
# The most certificates of an export.
MOST_EXPORTED = 100_000
# More than any list of ids has.
_NO_LIMIT = 2**31 - 1


class IncidentCriteria(NamedTuple):
    """Selects certificates by exactly one of `issuer`, `spki` and `serials`.

    Events at `since` or later count as notifications (None: in the last five days).
    """

    issuer: str | None = None
    spki: str | None = None
    serials: tuple[str, ...] = ()
    since: datetime | None = None

    @property
    def kind(self) -> Kind:
        """Returns the name of the criterion."""
        if self.issuer is not None:
            return "issuer"
        return "serials" if self.spki is None else "spki"


class _Incident(NamedTuple):
    """The criteria at a time, as parameters of statements."""

    kind: Kind
    now: datetime
    since: datetime
    values: dict[str, Any]


class _State(NamedTuple):
    """A row of `states`, in its order. The `other` version is an earlier or pending one."""

    id: int
    user_id: int
    external_id: str | None
    hostnames: str
    active: bool
    version: int
    serial: str | None
    not_after: datetime
    is_affected: bool
    other_version: int | None
    other_serial: str | None
    other_not_after: datetime
    verified_version: int | None
    still_served: bool
    coverage: int

    @property
    def is_current(self) -> bool:
        """Whether the current version is the latest one that matches."""
        return bool(self.is_affected) and self.version > (self.other_version or 0)

    @property
    def affected_version(self) -> int:
        """Returns the latest version that matches, or 0."""
        return self.version if self.is_current else self.other_version or 0


class Incidents:
    """Finds affected certificates, and how far the replacement of each is.

    Reads thousands of certificates at a time, so that no statement takes long.
    """

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._now = now
        kinds: tuple[Kind, ...] = ("issuer", "spki", "serials")
        self._ids = {kind: database.prepare(affected_ids(kind), tenant=None) for kind in kinds}
        self._states = {kind: database.prepare(states(kind), tenant=None) for kind in kinds}
        self._last_event = database.prepare(last_event_before(), tenant=None)
        self._notified = database.prepare(notified_ids(), tenant=None)

    def counts(self, criteria: IncidentCriteria) -> IncidentCounts:
        """Returns the numbers of affected certificates by state. Raises Unavailable."""
        return self._counts(self._begin(criteria))

    def page(self, criteria: IncidentCriteria, after: int, limit: int) -> Page[AffectedView]:
        """Returns a page of affected certificates by id. Raises Unavailable."""
        return self._page(self._begin(criteria), after, limit)

    def read(
        self, criteria: IncidentCriteria, after: int, limit: int
    ) -> tuple[IncidentView, int | None]:
        """Returns the numbers and a page, and the `after` of the next page, if any.

        Raises Unavailable.
        """
        incident = self._begin(criteria)
        page = self._page(incident, after, limit)
        counts = self._counts(incident)
        return IncidentView(incident.now, incident.since, counts, page.items), page.next_after

    def export(self, criteria: IncidentCriteria) -> list[AffectedView]:
        """Returns all affected certificates by id.

        Raises Conflict if there are too many; Unavailable.
        """
        incident = self._begin(criteria)
        ids = self._affected(incident, 0, MOST_EXPORTED + 1)
        if len(ids) > MOST_EXPORTED:
            raise Conflict(
                f"More than {MOST_EXPORTED:,} certificates are affected. Read their pages as JSON, "
                "or export some of them by their serial numbers."
            )
        return [*self._views(incident, ids)]

    def _begin(self, criteria: IncidentCriteria) -> _Incident:
        now = self._now()
        since = criteria.since or now - _DEFAULT_SINCE
        events = self._last_event(since=since)
        values = {
            "issuer": criteria.issuer,
            "spki": criteria.spki,
            "serials": as_json(criteria.serials),
            "now": now,
            "since": since,
            "event_id": events[0][0] if events else 0,
        }
        return _Incident(criteria.kind, now, since, values)

    def _counts(self, incident: _Incident) -> IncidentCounts:
        counts = IncidentCounts()
        for view in self._views(incident, self._affected(incident)):
            counts.affected += 1
            counts.active += view.active and view.affected_version == view.version
            counts.notified += view.notified
            counts.replaced += view.replaced
            counts.verified_served += view.verified_served
            counts.still_served += view.still_served
        return counts

    def _page(self, incident: _Incident, after: int, limit: int) -> Page[AffectedView]:
        ids = self._affected(incident, after, limit + 1)
        # An item may have been deleted since, so its id counts.
        next_after = ids[limit - 1] if len(ids) > limit else None
        return Page([*self._views(incident, ids[:limit])], next_after)

    def _affected(self, incident: _Incident, after: int = 0, limit: int = _NO_LIMIT) -> list[int]:
        rows = self._ids[incident.kind](**incident.values, after=after, limit=limit)
        return [row[0] for row in rows]

    def _views(self, incident: _Incident, ids: list[int]) -> Iterator[AffectedView]:
        for start in range(0, len(ids), _AT_ONCE):
            values = {**incident.values, "ids": ids_as_json(ids[start : start + _AT_ONCE])}
            states_of_ids = [_State(*row) for row in self._states[incident.kind](**values)]
            values["user_ids"] = ids_as_json({state.user_id for state in states_of_ids})
            notified = {row[0] for row in self._notified(**values)}
            for state in states_of_ids:
                # It may have changed since its id was read.
                if state.affected_version:
                    yield _view(state, state.id in notified)


def _view(state: _State, notified: bool) -> AffectedView:
    is_superseded = state.affected_version < state.version
    is_verified = (state.verified_version or 0) > state.affected_version
    return AffectedView(
        id=state.id,
        user_id=state.user_id,
        external_id=state.external_id,
        hostnames=names_of(state.hostnames),
        active=state.active,
        version=state.version,
        affected_version=state.affected_version,
        serial=state.serial if state.is_current else state.other_serial,
        not_after=state.not_after if state.is_current else state.other_not_after,
        notified=notified,
        replaced=is_superseded or state.coverage >= COVERED,
        verified_served=(is_superseded and is_verified) or state.coverage == COVERED_BY_VERIFIED,
        still_served=bool(state.still_served),
    )
