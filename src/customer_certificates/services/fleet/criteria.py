"""The conditions of a search over all users, and the indexes that serve them.

A search reads one index in the order of its list, so a page costs the same at any depth. PostgreSQL
chooses the index by its statistics. SQLite has none, so the statement names the index
(docs/decisions/0042-fleet-search.md).
"""

from datetime import datetime
from typing import Literal, NamedTuple

from sqlalchemy import ColumnElement, and_, func, literal_column, not_, select, true

from ...gateways.database import int_param, text_param, time_param
from ...models import Certificate, CertificateHostname, CertificateLabel, User
from ...models.certificate import IMPAIRED, NOT_PUBLIC, SHORT_ISSUER, SHORT_SERIAL, STARTS_LATER
from ...pki.submission import Trust
from ..certificates.listing import status_conditions
from ..certificates.views import Status
from ..labels import MOST_CONDITIONS, has_label
from ..pages import LARGEST_ID, START, Cursor

# The column that orders a list, before the id.
Order = Literal["id", "not_after", "not_before"]
# Of certificates with such a trust, lists are by expiry.
_BY_EXPIRY: tuple[Trust, ...] = ("private", "self_signed", "incomplete")
_SELECTIVE = frozenset({"fingerprint", "serial", "spki", "hostname", "user_id", "external_id"})
_NOW = time_param("now")


class FleetFilter(NamedTuple):
    """Selects certificates of all users that match every condition that is not None.

    `hostname` matches certificates for that name, or for the wildcard that covers it.
    `expires_after` includes that time, `expires_before` does not. `serial`, `spki` and
    `fingerprint` are lower-case hexadecimal digits, as they are stored. `labels` are like
    `env=production`.
    """

    hostname: str | None = None
    expires_before: datetime | None = None
    expires_after: datetime | None = None
    issuer: str | None = None
    serial: str | None = None
    spki: str | None = None
    fingerprint: str | None = None
    status: Status | None = None
    trust: Trust | None = None
    servable: bool | None = None
    user_id: int | None = None
    external_id: str | None = None
    labels: tuple[str, ...] = ()

    @property
    def order(self) -> Order:
        """The column that orders the certificates, before their id.

        Certificates without dates do not match a filter that orders by one.
        """
        if self.status == "not_yet_valid":
            return "not_before"
        by_date = self.status == "expired" or self.expires_before or self.expires_after
        return "not_after" if by_date or self.issuer or self.trust in _BY_EXPIRY else "id"

    def start(self, now: datetime, after: Cursor) -> Cursor:
        """Returns the position where a page begins: after `after`, and where certificates match."""
        if self.order == "id":
            return after
        if self.order == "not_before":
            return max(after, Cursor(now, LARGEST_ID))
        earliest = self.expires_after or START.time
        if self.status in ("active", "inactive"):
            earliest = max(earliest, now)
        return max(after, Cursor(earliest, 0))

    def shape(self, now: datetime, after: Cursor) -> "Shape":
        """Returns the statement that the filter needs for a page after `after`."""
        compared = {name for name in COMPARED if getattr(self, name) is not None}
        if self.order == "not_after":
            # The page starts there.
            compared -= {"expires_after"}
        labels = min(len(self.labels), MOST_CONDITIONS)
        is_public = self.trust == "public"
        is_unexpired = self.status in ("active", "inactive") or (
            self.order == "not_after" and self.start(now, after).time >= now
        )
        return Shape(
            frozenset(compared),
            self.status,
            self.servable,
            is_public,
            labels,
            self.order,
            self.servable is False and is_unexpired,
        )


class Shape(NamedTuple):
    """The parts of a filter that determine the text of its statement.

    Filters that differ in the compared values alone share a statement.

    `is_impaired`: the certificates have not expired, and are not servable for another reason.
    """

    compared: frozenset[str]
    status: Status | None
    servable: bool | None
    is_public: bool
    labels: int
    order: Order
    is_impaired: bool


COMPARED: dict[str, ColumnElement[bool]] = {
    "hostname": Certificate.id.in_(
        select(CertificateHostname.certificate_id).where(
            CertificateHostname.hostname.in_([text_param("hostname"), text_param("wildcard")])
        )
    ),
    "expires_before": Certificate.not_after < time_param("expires_before"),
    "expires_after": Certificate.not_after >= time_param("expires_after"),
    "issuer": and_(Certificate.issuer == text_param("issuer"), literal_column(SHORT_ISSUER)),
    "serial": and_(Certificate.serial == text_param("serial"), literal_column(SHORT_SERIAL)),
    "spki": Certificate.spki_sha256 == text_param("spki"),
    "fingerprint": Certificate.fingerprint_sha256 == text_param("fingerprint"),
    "trust": Certificate.trust == text_param("trust"),
    "user_id": Certificate.user_id == int_param("user_id"),
    "external_id": Certificate.user_id
    == select(User.id).where(User.external_id == text_param("external_id")).scalar_subquery(),
}
_STATUSES = status_conditions(_NOW)
# `pki.selection.why_not_servable` in SQL. The dates are NULL if they are unknown.
_SERVABLE = and_(
    Certificate.trust != literal_column("'unreadable'"),
    Certificate.not_servable.is_(None),
    func.coalesce(Certificate.not_after >= _NOW, true()),
    func.coalesce(Certificate.not_before <= _NOW, true()),
    func.coalesce(Certificate.serve_not_after >= _NOW, true()),
    func.coalesce(Certificate.serve_not_before <= _NOW, true()),
)


def conditions_of(shape: Shape) -> list[ColumnElement[bool]]:
    """Returns the conditions of a statement, other than the place where its page starts."""
    conditions = [COMPARED[name] for name in sorted(shape.compared)]
    if "trust" in shape.compared and not shape.is_public:
        conditions.append(literal_column(NOT_PUBLIC))
    if shape.status:
        conditions.append(_STATUSES[shape.status])
    if shape.order == "not_before":
        conditions.append(literal_column(STARTS_LATER))
    if shape.servable is not None:
        conditions.append(_SERVABLE if shape.servable else not_(_SERVABLE))
    if shape.is_impaired:
        conditions.append(literal_column(IMPAIRED))
    # The first one is joined.
    for number in range(int(is_by_label(shape)), shape.labels):
        of_owner = CertificateLabel.certificate_id == Certificate.id
        conditions.append(has_label(CertificateLabel, number, of_owner))
    return conditions


def index_of(shape: Shape) -> str | None:
    """Returns the index that leads to the fewest certificates; None: the primary key."""
    of_user = "user_id" in shape.compared or "external_id" in shape.compared
    by_expiry = shape.order == "not_after"
    indexes = {
        "fingerprint_sha256_user_id": "fingerprint" in shape.compared,
        "serial_id": "serial" in shape.compared,
        "spki_sha256_id": "spki" in shape.compared,
        # Its subquery returns primary keys.
        None: "hostname" in shape.compared or is_by_label(shape),
        "user_id_not_after": of_user and by_expiry,
        "user_id_id": of_user,
        "not_after_id_impaired": shape.is_impaired and by_expiry,
        "id_impaired": shape.is_impaired,
        "issuer_not_after_id": "issuer" in shape.compared,
        "trust_not_after_id": "trust" in shape.compared and not shape.is_public,
        "not_before_id": shape.order == "not_before",
        "not_after_id": by_expiry,
    }
    return next((name for name, serves in indexes.items() if serves), None)


def is_by_label(shape: Shape) -> bool:
    """Returns whether the index of the labels leads to the fewest certificates."""
    return shape.labels > 0 and shape.order == "id" and not _SELECTIVE & shape.compared


def may_walk_far(shape: Shape) -> bool:
    """Returns whether a page by id may read many certificates that do not match."""
    is_filtered = shape.servable is not None or shape.status is not None
    by_index = index_of(shape) or is_by_label(shape) or "hostname" in shape.compared
    return shape.order == "id" and is_filtered and not by_index
