"""Searches the certificates of all users."""

from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import aliased

from ...gateways.database import Database, int_param
from ...gateways.database.prepared import BoundStatement, Prepared
from ...models import Certificate, CertificateLabel, User
from ..certificates.listing import names_for
from ..labels import is_label, label_values
from ..pages import START, Cursor, KeysetPage, after_values, comes_after, keyset_page
from .criteria import FleetFilter, Shape, conditions_of, index_of, is_by_label, may_walk_far
from .views import SHOWN, FleetCertificate, fleet_certificate


class Fleet:
    """Reads pages of certificates of all users, each in one statement."""

    def __init__(
        self, database: Database, now: Callable[[], datetime], *, walk: int = 100_000
    ) -> None:
        """`walk`: the ids that one page covers, if most certificates may not match."""
        self._database = database
        self._now = now
        self._walk = walk
        self._last_id = database.prepare(select(func.max(Certificate.id)), tenant=None)
        # An index serves only the conditions in the statement.
        self._statement = cache(self._prepare)

    def page(
        self, criteria: FleetFilter, after: Cursor | None, limit: int
    ) -> KeysetPage[FleetCertificate]:
        """Returns a page of the certificates that match, in the order `criteria.order`, then by id.

        `after` is the `next_after` of the page before, or None for the first page. A page may have
        fewer certificates than `limit`, or none, although others follow.
        """
        statement, values = self.bound(criteria, after, limit)
        rows, now = statement(**values), values["now"]
        time = None if criteria.order == "id" else criteria.order
        page = keyset_page(rows, limit, lambda row: fleet_certificate(row, now), time)
        last_id = values.get("last_id")
        if page.next_after or last_id is None or last_id >= (self._last_id()[0][0] or 0):
            return page
        return page._replace(next_after=START._replace(id=last_id))

    def bound(self, criteria: FleetFilter, after: Cursor | None, limit: int) -> BoundStatement:
        """Returns the statement that reads a page, and its parameters."""
        name, wildcard = names_for(criteria.hostname)
        values: dict[str, Any] = criteria._asdict() | {"hostname": name, "wildcard": wildcard}
        values |= label_values(criteria.labels) | {"now": self._now(), "limit": limit + 1}
        start = criteria.start(values["now"], after or START)
        shape = criteria.shape(values["now"], start)
        values |= after_values(start)
        if may_walk_far(shape):
            values["last_id"] = start.id + self._walk
        return self._statement(shape), values

    def _prepare(self, shape: Shape) -> Prepared:
        return self._database.prepare(_page_of(shape), tenant=None, is_planned_anew=True)


def _page_of(shape: Shape) -> Select[*tuple[Any, ...]]:
    """Selects a page of certificates, with the external ids of their users."""
    external_id = select(User.external_id).where(User.id == Certificate.user_id).scalar_subquery()
    page = select(*(getattr(Certificate, name) for name in SHOWN), external_id)
    page = page.where(*conditions_of(shape)).limit(int_param("limit"))
    index = index_of(shape)
    hint = f"INDEXED BY ix_certificates_{index}" if index else "NOT INDEXED"
    page = page.with_hint(Certificate, hint, "sqlite")
    if shape.order != "id":
        time = getattr(Certificate, shape.order)
        return page.where(comes_after(time, Certificate.id)).order_by(time, Certificate.id)
    after = int_param("after_id")
    page = page.where(Certificate.id > after)
    if may_walk_far(shape):
        page = page.where(Certificate.id <= int_param("last_id"))
    if not is_by_label(shape):
        return page.order_by(Certificate.id)
    label = aliased(CertificateLabel)
    # The join reads the labels in the order of the list.
    return (
        page.join(label, label.certificate_id == Certificate.id)
        .where(is_label(label, 0), label.certificate_id > after)
        .order_by(label.certificate_id)
    )
