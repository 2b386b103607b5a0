"""What a certificate is replaced with, and what it was before."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, delete, insert, literal, select, union_all

from ..crypto.secret import Secret
from ..errors import Conflict, Finding, NotFound
from ..gateways.database import Database, Transaction
from ..models import CONTENT, Certificate, CertificateVersion
from .audit import Audit, Outcome
from .callers import Caller
from .contents import (
    certificate_not_found,
    certificate_path,
    content_of,
    locked_certificate,
)
from .data_keys import DataKeys, UserKeys
from .events import Events, EventType, state_of
from .hostnames import Hostnames, names_of, require_kept
from .inspection import Inspection
from .intermediates import Intermediates
from .private_keys import PrivateKeys
from .repeats import ANY_NUMBER, Once
from .revisions import DATES, Revisions
from .uploads import Replacement, Rollback
from .views import SHOWN, CertificateView, Tags, certificate_view, require_view, view_of

# The present one among them.
_KEPT = 5
_TOLD_OF: dict[str, EventType] = {
    "certificate.replace": "certificate.replaced",
    "certificate.roll_back": "certificate.rolled_back",
}


class Versions:
    """A certificate is replaced in its place: the same id, the next version, no moment without."""

    def __init__(
        self,
        database: Database,
        inspection: Inspection,
        intermediates: Intermediates,
        hostnames: Hostnames,
        revisions: Revisions,
        audit: Audit,
        events: Events,
        data_keys: DataKeys,
        private_keys: PrivateKeys,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._inspection = inspection
        self._intermediates = intermediates
        self._hostnames = hostnames
        self._revisions = revisions
        self._audit = audit
        self._events = events
        self._data_keys = data_keys
        self._private_keys = private_keys
        self._now = now
        self._all = database.prepare(_all_versions())
        certificate_id: Any = bindparam("certificate_id")
        kept = ("version", *CONTENT)
        self._keep = database.prepare(
            insert(CertificateVersion).from_select(
                ["certificate_id", *kept],
                select(Certificate.id, *(getattr(Certificate, name) for name in kept)).where(
                    Certificate.id == certificate_id
                ),
            )
        )
        self._drop = database.prepare(
            delete(CertificateVersion).where(
                CertificateVersion.certificate_id == certificate_id,
                CertificateVersion.version <= bindparam("version"),
            )
        )

    def all(self, user_id: int, certificate_id: int) -> list[CertificateView]:
        """The certificate and what it was before, newest first. Raises NotFound."""
        rows = self._all(user_id=user_id, certificate_id=certificate_id)
        if not rows:
            raise certificate_not_found(user_id, certificate_id)
        now = self._now()
        return [certificate_view(row, now) for row in rows]

    def replace(
        self,
        caller: Caller,
        user_id: int,
        certificate_id: int,
        sent: Replacement,
        expected: Tags | None,
        once: Once = ANY_NUMBER,
    ) -> CertificateView:
        """The certificate as it is after it was replaced with `sent`; nothing changes where it is
        that already.

        Raises Invalid (it is not accepted), NotFound, PreconditionFailed, Unavailable, or Conflict:
        hostnames would be lost, or a new one is another user's.
        """
        examined = self._inspection.examine(user_id, sent)
        self._inspection.require(examined)
        now = self._now()
        content = content_of(sent, examined, now)
        keys = self._data_keys.of(user_id)
        path = certificate_path(user_id, certificate_id)
        with (
            self._audit.of_refusals(caller, "certificate.replace", user_id, path),
            self._database.begin(user_id) as session,
        ):
            once.claim(session)
            certificate = locked_certificate(session, user_id, certificate_id)
            require_view(expected, view_of(certificate, now))
            before = certificate.version
            if not self._is_already(session, keys, certificate, content, examined.private_key):
                require_kept(
                    names_of(certificate.hostnames),
                    names_of(content["hostnames"]),
                    allowed=sent.allow_lost_hostnames,
                )
                # Before hostnames are claimed, as an upload does: two that wait for one another in
                # opposite orders would be a deadlock.
                for statement, values in self._intermediates.keep(user_id, examined):
                    session.run(statement, **values)
                self._put(session, keys, certificate, content, examined.private_key)
            self._record(session, caller, "certificate.replace", certificate, before)
            return once.keep(session, view_of(certificate, now))

    def roll_back(
        self,
        caller: Caller,
        user_id: int,
        certificate_id: int,
        wanted: Rollback,
        expected: Tags | None,
        once: Once = ANY_NUMBER,
    ) -> CertificateView:
        """The certificate as it is after it was replaced with what it was as `wanted.version`;
        nothing changes where it is that already.

        Raises NotFound (also for a version that is not kept), PreconditionFailed, or Conflict:
        hostnames would be lost, one is another user's, or that version has expired.
        """
        now = self._now()
        keys = self._data_keys.of(user_id)
        path = certificate_path(user_id, certificate_id)
        with (
            self._audit.of_refusals(caller, "certificate.roll_back", user_id, path),
            self._database.begin(user_id) as session,
        ):
            once.claim(session)
            certificate = locked_certificate(session, user_id, certificate_id)
            require_view(expected, view_of(certificate, now))
            before = certificate.version
            if wanted.version != before:
                content = _content_of_version(session, certificate, wanted.version)
                key = self._private_keys.open(session, keys, certificate.id, wanted.version)
                if not self._is_already(session, keys, certificate, content, key):
                    self._require_unexpired(content, now)
                    require_kept(
                        names_of(certificate.hostnames),
                        names_of(content["hostnames"]),
                        allowed=wanted.allow_lost_hostnames,
                    )
                    content["updated_at"] = now
                    self._put(session, keys, certificate, content, key)
            self._record(session, caller, "certificate.roll_back", certificate, before)
            return once.keep(session, view_of(certificate, now))

    def _is_already(
        self,
        session: Transaction,
        keys: UserKeys,
        certificate: Certificate,
        content: dict[str, Any],
        key: Secret,
    ) -> bool:
        """A request that is repeated must not make another version. The same certificate may come
        with another key, and what could not be read as another text."""
        same = ["fingerprint_sha256", "chain_pem"]
        if certificate.fingerprint_sha256 is None:
            same += ["body", "chain"]
        return all(getattr(certificate, name) == content[name] for name in same) and (
            self._private_keys.is_stored(session, keys, certificate.id, certificate.version, key)
        )

    def _record(
        self,
        session: Transaction,
        caller: Caller,
        action: str,
        certificate: Certificate,
        before: int,
    ) -> None:
        """`before` is the version that the certificate was."""
        changed = certificate.version != before
        outcome: Outcome = "done" if changed else "unchanged"
        state = state_of(certificate)
        told = self._events.calls(_TOLD_OF[action], certificate.user_id, state) if changed else []
        detail = {
            "version": certificate.version,
            "fingerprint_sha256": certificate.fingerprint_sha256,
        }
        path = certificate_path(certificate.user_id, certificate.id)
        self._audit.record(
            session,
            caller,
            action,
            certificate.user_id,
            path,
            outcome=outcome,
            detail=detail,
            also=told,
        )

    def _put(
        self,
        session: Transaction,
        keys: UserKeys,
        certificate: Certificate,
        content: dict[str, Any],
        key: Secret,
    ) -> None:
        """Makes `content` and `key` the next version of a certificate that is locked."""
        user_id, certificate_id, before = (
            certificate.user_id,
            certificate.id,
            certificate.hostnames,
        )
        session.run(self._keep, certificate_id=certificate_id)
        certificate.version += 1
        for name, value in content.items():
            setattr(certificate, name, value)
        certificate.watch_expiry(self._now())
        session.flush()
        self._private_keys.add(session, keys, certificate_id, certificate.version, key)
        dropped = certificate.version - _KEPT
        session.run(self._drop, certificate_id=certificate_id, version=dropped)
        self._private_keys.drop(session, certificate_id, dropped)
        self._hostnames.replace(session, user_id, certificate_id, certificate.hostnames)
        if certificate.active:
            self._hostnames.claim(session, user_id, certificate.hostnames)
            self._hostnames.free(session, user_id, before)
        statement, values = self._revisions.added(
            user_id, {name: getattr(certificate, name) for name in DATES}
        )
        session.run(statement, **values)

    def _require_unexpired(self, content: dict[str, Any], now: datetime) -> None:
        not_after = content["not_after"]
        if self._inspection.enforces and not_after and not_after < now:
            raise Conflict(
                "That version has expired; nothing was changed.",
                errors=[
                    Finding(
                        "expired",
                        "version",
                        f"It expired on {not_after:%Y-%m-%d}.",
                        "Replace the certificate with a valid one.",
                    )
                ],
            )


def _all_versions() -> Select[*tuple[Any, ...]]:
    """In one statement, or a replacement between two would show a version twice."""
    mine = (
        Certificate.id == bindparam("certificate_id"),
        Certificate.user_id == bindparam("user_id"),
    )
    own = {"id", "user_id", "created_at"}
    before = [
        literal(False).label(name)
        if name == "active"
        else getattr(Certificate if name in own else CertificateVersion, name)
        for name in SHOWN
    ]
    versions = union_all(
        select(*(getattr(Certificate, name) for name in SHOWN)).where(*mine),
        select(*before)
        .join_from(
            CertificateVersion, Certificate, CertificateVersion.certificate_id == Certificate.id
        )
        .where(*mine),
    ).subquery()
    return select(versions).order_by(versions.c.version.desc())


def _content_of_version(
    session: Transaction, certificate: Certificate, version: int
) -> dict[str, Any]:
    kept = session.scalars(
        select(CertificateVersion).where(
            CertificateVersion.certificate_id == certificate.id,
            CertificateVersion.version == version,
        )
    ).one_or_none()
    if kept is None:
        raise NotFound(
            f"Certificate {certificate.id} has no version {version}; the last {_KEPT} are kept."
        )
    return {name: getattr(kept, name) for name in CONTENT}
