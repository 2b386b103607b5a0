"""/console/users/{user_id}/activity and its subpath"""

from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from falcon import Request, Response

from ...services.access.permissions import users
from ...services.audit.listing import AuditPages
from ...services.audit.views import AuditView
from ...services.events.listing import EventPages
from ...services.events.views import EventView
from ...web.request_parsing import LARGEST_ID, Query
from ..page import ServicePage, decoded
from .event_words import ACTIONS, ALARMING, EVENTS

_LIMIT = 50
_ACTORS = {
    "open": "A client of this machine",
    "anybody": "A client without credentials",
    "operator": "An operator",
    "command": "The service",
    "terminator": "A server",
    "user": "The user",
}


class ActivityPage(ServicePage[EventPages]):
    """The events of a user, newest first."""

    allow = users("certificates:read")

    def on_get(self, req: Request, resp: Response, user_id: int) -> None:
        page = self._service.newest(user_id, _before(req), _LIMIT)
        self.show(
            req,
            resp,
            "customer/activity.html",
            user_id=user_id,
            events=decoded(page.items, list[EventView]),
            next_before=page.next_after,
            words=EVENTS,
            alarming=ALARMING,
            nothing=msgspec.UNSET,
        )


class Entry(NamedTuple):
    """An entry of the audit log, in words. `page` is the page of its object in the console."""

    at: datetime
    action: str
    actor: str
    peer: str
    outcome: str
    object: str | None
    page: str | None
    detail: dict[str, Any]


class AuditLogPage(ServicePage[AuditPages]):
    """The audit log of a user, newest first."""

    allow = users("audit:read")

    def on_get(self, req: Request, resp: Response, user_id: int) -> None:
        page = self._service.newest(user_id, _before(req), _LIMIT)
        entries = decoded(page.items, list[AuditView])
        self.show(
            req,
            resp,
            "customer/audit_log.html",
            user_id=user_id,
            entries=[_entry(view) for view in entries],
            next_before=page.next_after,
        )


def _before(req: Request) -> int:
    query = Query(req)
    before = query.whole("before", LARGEST_ID, 1)
    query.check()
    return before


def _entry(view: AuditView) -> Entry:
    actor = _ACTORS.get(view.actor_kind, view.actor_kind)
    if view.actor_token_id is not None:
        actor += f", token {view.actor_token_id}"
    return Entry(
        datetime.fromisoformat(view.at),
        ACTIONS.get(view.action, view.action),
        actor,
        view.peer,
        view.outcome,
        view.object,
        _page_of(view),
        view.detail,
    )


def _page_of(view: AuditView) -> str | None:
    """Returns the path of the entry's certificate, webhook or hostname in the console."""
    parts = (view.object or "").split("/")
    has_page = parts[:2] == ["", "users"] and len(parts) >= 5
    if not has_page or parts[3] not in ("certificates", "hostnames", "webhooks"):
        return None
    return "/console" + "/".join(parts[:5])
