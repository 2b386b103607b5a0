"""Certificates: uploaded, listed, activated, deleted."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta
from sqlalchemy import (
    BigInteger,
    Select,
    bindparam,
    case,
    func,
    insert,
    select,
    true,
    update,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import FunctionElement

from ..errors import NotFound
from ..gateways.cache import Page, Pages
from ..gateways.database import ConstraintBroken, Database, Transaction
from ..gateways.prepared import Row
from ..models import Certificate, User, new_revision
from .users import locked_user, user_not_found
from .views import (
    CertificateView,
    Tags,
    encode,
    require,
    require_view,
    tag_of_revision,
)

# A page ends early once its bodies are this large (in bytes; SQLite counts characters): a thousand
# certificates of the largest size would be a quarter of a gigabyte.
_PAGE_SIZE = 4 * 2**20


class CertificateUpload(msgspec.Struct, forbid_unknown_fields=True):
    """A certificate and its private key, as its owner has them."""

    private_key: Annotated[
        bytes,
        Meta(
            min_length=1,
            description="Base64 of the key, in the standard alphabet, padded, without line breaks.",
            examples=["LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCg=="],
            extra_json_schema={
                "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
            },
        ),
    ]
    body: Annotated[
        str,
        Meta(
            min_length=1,
            pattern=r"^[^\x00]*$",
            description="The certificate; stored as it comes.",
            examples=["-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----\n"],
        ),
    ]
    active: Annotated[bool, Meta(description="Whether it is to be served at once.")] = False


class Activation(msgspec.Struct, forbid_unknown_fields=True):
    """Whether a certificate is to be served."""

    active: Annotated[bool, Meta(description="Whether it is to be served.", examples=[True])]
    notify: Annotated[bool, Meta(description="Whether other systems are to be told.")] = True


class CertificateFilter(NamedTuple):
    """Which of a user's certificates: by `active` (None: both), by id from the first one after
    `after`, at most `limit` of them."""

    active: bool | None
    after: int
    limit: int


class Certificates:
    """The use cases that have to do with certificates.

    Every change replaces the user's `certificates_revision` in its own transaction; that is what
    makes the cached lists right.
    """

    def __init__(self, database: Database, pages: Pages, now: Callable[[], datetime]) -> None:
        self._database = database
        self._pages = pages
        self._now = now
        self._revision = database.prepare(
            select(User.certificates_revision).where(User.id == bindparam("user_id"))
        )
        self._one = database.prepare(
            select(
                Certificate.id,
                Certificate.user_id,
                Certificate.active,
                Certificate.body,
                Certificate.created_at,
            ).where(
                Certificate.id == bindparam("certificate_id"),
                Certificate.user_id == bindparam("user_id"),
            )
        )
        self._change = database.prepare(
            update(User)
            .where(User.id == bindparam("user_id"))
            .values(certificates_revision=bindparam("revision"))
            .returning(User.id)
        )
        self._insert = database.prepare(
            insert(Certificate).returning(Certificate.id),
            ("user_id", "active", "body", "private_key", "created_at"),
        )
        self._page = {active: database.prepare(_page_of(active)) for active in (None, True, False)}

    def upload(self, user_id: int, new: CertificateUpload, expected: Tags | None) -> int:
        """Stores `new` and gives its id. Raises NotFound (no such user), PreconditionFailed."""
        change = {"user_id": user_id, "revision": new_revision()}
        row = {
            "user_id": user_id,
            "active": new.active,
            "body": new.body,
            "private_key": new.private_key,
            "created_at": self._now(),
        }
        if expected is None:
            return self._upload_at_once(change, row)
        with self._database.begin() as session:
            user = locked_user(session, user_id)
            require(expected, tag_of_revision(user.certificates_revision))
            session.run(self._change, **change)
            certificate_id: int = session.run(self._insert, **row)[0][0]
            return certificate_id

    def get(self, user_id: int, certificate_id: int) -> CertificateView:
        """The certificate. Raises NotFound, also where it is another user's."""
        rows = self._one(user_id=user_id, certificate_id=certificate_id)
        if not rows:
            raise _certificate_not_found(user_id, certificate_id)
        return CertificateView(*rows[0])

    def page(self, user_id: int, wanted: CertificateFilter, known: Tags) -> tuple[str, Page | None]:
        """The tag of the user's list as it stands, and the page; None where `known` has the tag.

        One statement asks the primary for the revision; the page is a function of it, so it can
        come from any cache. On a miss, one more statement reads revision and rows together: two
        would let a write fall between them. Raises NotFound.
        """
        rows = self._revision(user_id=user_id)
        if not rows:
            raise user_not_found(user_id)
        tag = tag_of_revision(rows[0][0])
        if known and known.admit(tag):
            return tag, None
        page = self._pages.get(_page_name(user_id, tag, wanted))
        if page is None:
            tag, page = self._read_page(user_id, wanted)
            self._pages.put(page)
        return tag, page

    def set_active(
        self, user_id: int, certificate_id: int, wanted: Activation, expected: Tags | None
    ) -> None:
        """Makes the certificate active or inactive; nothing changes where it is so already.

        Raises NotFound, PreconditionFailed.
        """
        with self._database.begin() as session:
            certificate = _locked_certificate(session, user_id, certificate_id)
            require_view(expected, _view(certificate))
            if certificate.active != wanted.active:
                certificate.active = wanted.active
                self._certificates_changed(session, user_id)

    def delete(self, user_id: int, certificate_id: int, expected: Tags | None) -> None:
        """Removes the certificate and its key. Raises NotFound, PreconditionFailed."""
        with self._database.begin() as session:
            certificate = _locked_certificate(session, user_id, certificate_id)
            require_view(expected, _view(certificate))
            session.delete(certificate)
            self._certificates_changed(session, user_id)

    def _upload_at_once(self, change: dict[str, Any], row: dict[str, Any]) -> int:
        """The change comes first: it locks the user's row, so ids are given in the order in which
        they become visible, and a list that is read page by page misses none."""
        try:
            _, rows = self._database.run_together((self._change, change), (self._insert, row))
        except ConstraintBroken:
            # The certificate's only constraint that can be broken: its user is not there.
            raise user_not_found(row["user_id"]) from None
        certificate_id: int = rows[0][0]
        return certificate_id

    def _certificates_changed(self, session: Transaction, user_id: int) -> None:
        """Replaces the user's revision, and so locks the row. Raises NotFound."""
        if not session.run(self._change, user_id=user_id, revision=new_revision()):
            raise user_not_found(user_id)

    def _read_page(self, user_id: int, wanted: CertificateFilter) -> tuple[str, Page]:
        active, after, limit = wanted
        rows = self._page[active](user_id=user_id, after=after, limit=limit + 1)
        if not rows:
            raise user_not_found(user_id)
        tag = tag_of_revision(rows[0][0])
        views = _views(user_id, rows[:limit])
        next_after = views[-1].id if views and len(rows) > len(views) else None
        return tag, Page(_page_name(user_id, tag, wanted), next_after, encode(views))


class _size(FunctionElement[int]):  # noqa: N801 - a function of SQL
    """How large a text is: in bytes, which PostgreSQL knows without reading it."""

    type = BigInteger()
    inherit_cache = True


@compiles(_size)
def _size_on_postgresql(element: _size, compiler: Any, **options: Any) -> str:
    return f"octet_length({compiler.process(element.clauses, **options)})"


@compiles(_size, "sqlite")
def _size_on_sqlite(element: _size, compiler: Any, **options: Any) -> str:
    return f"length({compiler.process(element.clauses, **options)})"


def _page_of(active: bool | None) -> Select[*tuple[Any, ...]]:
    """The revision of a user and a page of its certificates, in one statement.

    A certificate that the page has no room for comes without its body, and says by that that more
    follow. Each `active` is a statement of its own: an index on the active ones serves only a
    condition without a parameter.
    """
    size = _size(Certificate.body)
    bodies_before = func.sum(size).over(order_by=Certificate.id) - size
    some = (
        select(
            Certificate.id,
            Certificate.active,
            case((bodies_before < _PAGE_SIZE, Certificate.body)).label("body"),
            Certificate.created_at,
        )
        .where(
            Certificate.user_id == bindparam("user_id"),
            Certificate.id > bindparam("after"),
        )
        .order_by(Certificate.id)
        .limit(bindparam("limit", type_=BigInteger))
    )
    if active is not None:
        some = some.where(Certificate.active if active else ~Certificate.active)
    page = some.subquery()
    return (
        select(User.certificates_revision, page)
        .select_from(User)
        .outerjoin(page, true())
        .where(User.id == bindparam("user_id"))
        .order_by(page.c.id)
    )


def _views(user_id: int, rows: list[Row]) -> list[CertificateView]:
    views = []
    for _revision, certificate_id, active, body, created_at in rows:
        if body is None:
            break
        views.append(CertificateView(certificate_id, user_id, active, body, created_at))
    return views


def _page_name(user_id: int, tag: str, wanted: CertificateFilter) -> str:
    active, after, limit = wanted
    return f"cc:certificates:{user_id}:{tag}:{active}:{after}:{limit}"


def _locked_certificate(session: Session, user_id: int, certificate_id: int) -> Certificate:
    """The certificate, read under the lock of its user's row. Raises NotFound."""
    if session.get(User, user_id, with_for_update=True):
        certificate = session.get(Certificate, certificate_id)
        if certificate and certificate.user_id == user_id:
            return certificate
    raise _certificate_not_found(user_id, certificate_id)


def _certificate_not_found(user_id: int, certificate_id: int) -> NotFound:
    return NotFound(f"User {user_id} has no certificate {certificate_id}.")


def _view(certificate: Certificate) -> CertificateView:
    return CertificateView(
        certificate.id,
        certificate.user_id,
        certificate.active,
        certificate.body,
        certificate.created_at,
    )
