"""Lists certificates: filtered, paginated, and never older than the last write."""

from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, case, func, select, true

from ...errors import user_not_found
from ...gateways.cache.page_cache import Page, PageCache
from ...gateways.database import Database, int_param, text_param, time_param
from ...gateways.database.prepared import Prepared, Row
from ...gateways.database.sql_functions import likely, size_of
from ...models import Certificate, CertificateHostname, CertificateLabel, User
from ...pki.names.hostnames import normalise, wildcard_of
from ...pki.submission import Trust
from ..etags import Tags, encode, tag_of_revision
from ..labels import MOST_CONDITIONS, has_label, label_values
from ..principal import Principal
from ..revisions import Revisions
from .views import SHOWN, CertificateView, Status, certificate_view

# A page ends early once its texts reach this size in bytes (SQLite counts characters). A thousand
# certificates of the largest size would be a quarter of a gigabyte.
_PAGE_SIZE = 4 * 2**20
_BODY = SHOWN.index("body")
# Nullable texts that may be equally large.
_LARGE_OR_NULL = ("chain", "chain_pem", "pending")


class CertificateFilter(NamedTuple):
    """Selects certificates of a user that match every condition that is not None.

    They are ordered by id, start after the id `after`, and are at most `limit`.

    `hostname` matches certificates for that name, or for the wildcard that covers it. `labels` are
    like `env=production`.
    """

    active: bool | None
    hostname: str | None
    expires_before: datetime | None
    status: Status | None
    fingerprint: str | None
    trust: Trust | None
    after: int
    limit: int
    labels: tuple[str, ...] = ()


class Listing:
    """Returns pages of users' lists, from a cache if possible."""

    def __init__(self, database: Database, pages: PageCache, revisions: Revisions) -> None:
        self._database = database
        self._pages = pages
        self._revisions = revisions
        # Each set of conditions has its own statement. An index is used only for conditions in the
        # statement, and the partial index of active certificates only for one without a parameter.
        self._page = cache(self._prepare)

    def page(
        self, principal: Principal, user_id: int, criteria: CertificateFilter, known_tags: Tags
    ) -> tuple[str, Page | None]:
        """Returns the current tag of the user's list, and the page.

        The page is None if `known_tags` contains the tag.

        One statement asks the primary for the revision, unless the authentication of `principal`
        has already read it. The page is a function of the revision, so any cache can provide it. On
        a miss, one more statement reads revision and rows together: between two statements, a write
        could happen. Raises NotFound.
        """
        tag = tag_of_revision(self._revisions.current(user_id, principal.target_user))
        if known_tags and known_tags.admit(tag):
            return tag, None
        return self._page_at(tag, user_id, criteria)

    def current(self, principal: Principal, user_id: int, criteria: CertificateFilter) -> Page:
        """Returns the page, like `page` for a client that knows no tag. Raises NotFound."""
        tag = tag_of_revision(self._revisions.current(user_id, principal.target_user))
        return self._page_at(tag, user_id, criteria)[1]

    def _page_at(self, tag: str, user_id: int, criteria: CertificateFilter) -> tuple[str, Page]:
        """Returns the page from a cache, or else from the database, and the tag that it has."""
        page = self._pages.get(cache_key(user_id, tag, criteria))
        if page is None:
            tag, views, next_after = self._read(user_id, criteria)
            page = Page(cache_key(user_id, tag, criteria), next_after, encode(views))
            self._pages.put(page)
        return tag, page

    def _read(
        self, user_id: int, criteria: CertificateFilter
    ) -> tuple[str, list[CertificateView], int | None]:
        """Returns the list's tag, the certificates, and the `after` of the next page, if any."""
        name, wildcard = names_for(criteria.hostname)
        values = {**criteria._asdict(), "hostname": name, "wildcard": wildcard}
        values |= label_values(criteria.labels)
        compared = frozenset(field for field in _COMPARED if values.get(field) is not None)
        statement = self._page(criteria.active, criteria.status, compared)
        rows = statement(**{**values, "user_id": user_id, "limit": criteria.limit + 1})
        if not rows:
            raise user_not_found(user_id)
        views = _views(rows[: criteria.limit])
        next_after = views[-1].id if views and len(rows) > len(views) else None
        return tag_of_revision(rows[0][0]), views, next_after

    def _prepare(
        self, active: bool | None, status: Status | None, compared: frozenset[str]
    ) -> Prepared:
        conditions = [_COMPARED[field] for field in sorted(compared)]
        if active is not None:
            conditions.append(_ACTIVE if active else ~_ACTIVE)
        if status is not None:
            conditions.append(_STATUSES[status])
        return self._database.prepare(_page_of(conditions))


_ACTIVE: ColumnElement[bool] = Certificate.__table__.c.active
_USER_ID = int_param("user_id")
_COMPARED: dict[str, ColumnElement[bool]] = {
    "hostname": Certificate.id.in_(
        select(CertificateHostname.certificate_id).where(
            CertificateHostname.user_id == _USER_ID,
            CertificateHostname.hostname.in_([text_param("hostname"), text_param("wildcard")]),
        )
    ),
    "expires_before": Certificate.not_after < time_param("expires_before"),
    "fingerprint": Certificate.fingerprint_sha256 == text_param("fingerprint"),
    "trust": Certificate.trust == text_param("trust"),
    **{
        f"label_name_{number}": has_label(
            CertificateLabel, number, CertificateLabel.certificate_id == Certificate.id
        )
        for number in range(MOST_CONDITIONS)
    },
}


def status_conditions(as_of: Any) -> dict[Status, ColumnElement[bool]]:
    """Returns the conditions of `views.status_of` in SQL."""
    has_begun = func.coalesce(Certificate.not_before <= as_of, true())
    not_expired = func.coalesce(Certificate.not_after >= as_of, true())
    return {
        "active": and_(Certificate.active, has_begun, not_expired),
        "inactive": and_(~Certificate.active, has_begun, not_expired),
        "expired": Certificate.not_after < as_of,
        "not_yet_valid": and_(Certificate.not_before > as_of, not_expired),
    }


_STATUSES = status_conditions(
    select(User.statuses_as_of).where(User.id == _USER_ID).scalar_subquery()
)


def _page_of(conditions: list[ColumnElement[bool]]) -> Select[*tuple[Any, ...]]:
    """Selects the revision of a user and a page of certificates, in one statement.

    A certificate that does not fit into the page has no texts, which also says that more follow.
    """
    columns = {name: getattr(Certificate, name) for name in SHOWN}
    size: Any = size_of(Certificate.body)
    for name in _LARGE_OR_NULL:
        size += func.coalesce(size_of(columns[name]), 0)
    before = func.sum(size).over(order_by=Certificate.id) - size
    for name in ("body", *_LARGE_OR_NULL):
        columns[name] = case((before < _PAGE_SIZE, columns[name])).label(name)
    page = (
        select(*columns.values())
        .where(
            Certificate.user_id == _USER_ID,
            likely(Certificate.id > int_param("after")),
            *conditions,
        )
        .order_by(Certificate.id)
        .limit(int_param("limit"))
        .subquery()
    )
    return (
        select(User.certificates_revision, User.statuses_as_of, page)
        .select_from(User)
        .outerjoin(page, true())
        .where(User.id == _USER_ID)
        .order_by(page.c.id)
    )


def _views(rows: list[Row]) -> list[CertificateView]:
    views = []
    for _revision, as_of, *row in rows:
        if row[_BODY] is None:
            break
        views.append(certificate_view(row, as_of))
    return views


def names_for(hostname: str | None) -> tuple[str | None, str | None]:
    """Returns the normalized hostname, and the wildcard that covers it."""
    if hostname is None:
        return None, None
    # An IPv6 address may be in brackets, as in a URL.
    hostname = hostname.removeprefix("[").removesuffix("]")
    name = normalise(hostname) or hostname
    return name, wildcard_of(name)


def cache_key(user_id: int, tag: str, criteria: CertificateFilter) -> str:
    """Returns the name of a page in the caches."""
    return f"cc:certificates:{user_id}:{tag}:{tuple(criteria)!r}"
