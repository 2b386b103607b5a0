"""/console/hostnames and /console/hostnames/{hostname}"""

from falcon import Request, Response

from ...services.access.permissions import OPERATORS
from ...services.challenges.contested import ContestedHostnames
from ...services.hostnames.owners import HostnameGrant, HostnameOwners
from .. import forms
from ..page import Page, ServicePage, redirect
from ..templates import segment

_LIMIT = 50
_MOST_CONTESTED = 20


class HostnamesPage(Page):
    """The owners of hostnames, with a search, and the contests."""

    allow = OPERATORS

    def __init__(self, owners: HostnameOwners, contested: ContestedHostnames) -> None:
        self._owners = owners
        self._contested = contested

    def on_get(self, req: Request, resp: Response) -> None:
        query = forms.query(req)
        hostname = query.hostname("hostname") if query.has("hostname") else None
        after = query.hostname("after") if query.has("after") else ""
        query.check()
        next_after = None
        if hostname:
            owned = self._owners.find(hostname)
        else:
            owned, next_after = self._owners.page(None, after, _LIMIT)
        self.show(
            req,
            resp,
            "operator/hostnames.html",
            hostname=hostname,
            hostnames=owned,
            next_after=next_after,
            contested=[] if hostname else self._contested.first(_MOST_CONTESTED),
        )


class HostnamePage(ServicePage[HostnameOwners]):
    """The owner of one hostname, and the forms that change it."""

    allow = OPERATORS

    def on_get(self, req: Request, resp: Response, hostname: str) -> None:
        found = {view.hostname: view for view in self._service.find(hostname)}
        claim = found.pop(hostname, None)
        self.show(
            req,
            resp,
            "operator/hostname.html",
            hostname=hostname,
            claim=claim,
            wildcard=next(iter(found.values()), None),
        )

    def on_post(self, req: Request, resp: Response, hostname: str) -> None:
        form, principal = req.context.form, req.context.principal
        done = "released"
        if forms.action_of(form, "release", "grant") == "release":
            self._service.release_any(principal, hostname)
        else:
            grant = forms.parse({"user_id": forms.number(form["user_id"])}, HostnameGrant)
            self._service.grant(principal, hostname, grant.user_id)
            done = "granted"
        redirect(resp, f"/console/hostnames/{segment(hostname)}?done={done}")
