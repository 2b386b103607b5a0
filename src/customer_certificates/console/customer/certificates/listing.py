"""/console/users/{user_id}/certificates"""

from collections.abc import Callable
from datetime import datetime

import msgspec
from falcon import Request, Response

from ....services.access.permissions import users
from ....services.certificates.listing import CertificateFilter, Listing
from ....services.certificates.views import Status
from ....services.terminators.serving_counts import ServingCounts
from ....web.filters import hostname_of
from ... import forms
from ...page import Page

_LIMIT = 50


class _Pending(msgspec.Struct):
    """A scheduled cutover."""

    activate_at: datetime


class _Row(msgspec.Struct):
    """The columns of the list."""

    id: int
    active: bool
    status: str
    servable: bool
    not_servable_reason: str | None
    trust: str
    hostnames: list[str]
    subject: str | None
    issuer: str | None
    not_before: datetime | None
    not_after: datetime | None
    version: int
    labels: dict[str, str]
    pending: _Pending | None


class CertificatesPage(Page):
    """A user's certificates, with a search by hostname and status."""

    allow = users("certificates:read")

    def __init__(
        self, listing: Listing, serving_counts: ServingCounts, now: Callable[[], datetime]
    ) -> None:
        self._listing = listing
        self._serving_counts = serving_counts
        self._now = now

    def on_get(self, req: Request, resp: Response, user_id: int) -> None:
        query = forms.query(req)
        criteria = CertificateFilter(
            active=None,
            hostname=hostname_of(query),
            expires_before=None,
            status=query.choice("status", Status),
            fingerprint=None,
            trust=None,
            after=query.whole("after", 0, 0),
            limit=_LIMIT,
        )
        query.check()
        page = self._listing.current(req.context.principal, user_id, criteria)
        certificates = msgspec.json.decode(page.body, type=list[_Row])
        self.show(
            req,
            resp,
            "customer/certificates.html",
            user_id=user_id,
            now=self._now(),
            certificates=certificates,
            serving=self._serving_counts.of(user_id, [row.id for row in certificates]),
            next_after=page.next_after,
        )
