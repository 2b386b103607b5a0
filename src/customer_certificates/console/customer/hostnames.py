"""/console/users/{user_id}/hostnames and its subpaths"""

from collections.abc import Callable
from datetime import datetime
from urllib.parse import quote

from falcon import Request, Response

from ...errors import Finding, Invalid
from ...pki.names.hostnames import normalise
from ...services.access.permissions import users
from ...services.challenges.service import Challenges
from ...services.hostnames.owners import HostnameOwners
from ...services.terminators.hostname_states import HostnameStates
from ...web.request_parsing import Query
from .. import forms
from ..page import Page, redirect

_LIMIT = 50
_ALLOW = users("certificates:read", "certificates:write")


class HostnamesPage(Page):
    """A user's hostnames with their owners' proofs, and the form for another one."""

    allow = _ALLOW

    def __init__(self, states: HostnameStates, challenges: Challenges) -> None:
        self._states = states
        self._challenges = challenges

    def on_get(self, req: Request, resp: Response, user_id: int) -> None:
        query = Query(req)
        after = query.hostname("after") if query.has("after") else ""
        query.check()
        hostnames, next_after = self._states.page(user_id, after, _LIMIT)
        self.show(
            req,
            resp,
            "customer/hostnames.html",
            user_id=user_id,
            hostnames=hostnames,
            next_after=next_after,
        )

    def on_post(self, req: Request, resp: Response, user_id: int) -> None:
        text = req.context.form["hostname"].strip()
        hostname = normalise(text)
        if hostname is None:
            # Without the text, which may be a key that was pasted into the wrong field.
            detail = "This is not a hostname."
            finding = Finding("invalid_value", "hostname", detail, "Example: www.example.com")
            raise Invalid("1 field is invalid.", errors=[finding])
        self._challenges.create(req.context.principal, user_id, hostname)
        redirect(resp, _path(user_id, hostname))


class HostnamePage(Page):
    """A hostname: its owner's proof, the certificates served for it, and its challenge."""

    allow = _ALLOW

    def __init__(
        self,
        states: HostnameStates,
        challenges: Challenges,
        owners: HostnameOwners,
        now: Callable[[], datetime],
    ) -> None:
        self._states = states
        self._challenges = challenges
        self._owners = owners
        self._now = now

    def on_get(self, req: Request, resp: Response, user_id: int, hostname: str) -> None:
        state = self._states.of(user_id, hostname)
        challenge = self._challenges.get(user_id, hostname) if state.has_challenge else None
        self.show(
            req,
            resp,
            "customer/hostname.html",
            user_id=user_id,
            hostname=hostname,
            of=state,
            challenge=challenge,
            now=self._now(),
        )

    def on_post(self, req: Request, resp: Response, user_id: int, hostname: str) -> None:
        principal = req.context.principal
        action = forms.action_of(req.context.form, "release", "cancel", "check", "start")
        path = _path(user_id, hostname)
        if action == "release":
            self._owners.release_own(principal, user_id, hostname)
            redirect(resp, f"/console/users/{user_id}/hostnames?done=released")
        elif action == "cancel":
            self._challenges.delete(principal, user_id, hostname)
            redirect(resp, f"{path}?done=challenge_canceled")
        elif action == "check":
            view = self._challenges.verify(principal, user_id, hostname)
            redirect(resp, f"{path}?done=proven" if view.state == "verified" else f"{path}#checks")
        else:
            self._challenges.create(principal, user_id, hostname)
            redirect(resp, path)


def _path(user_id: int, hostname: str) -> str:
    return f"/console/users/{user_id}/hostnames/{quote(hostname, safe='')}"
