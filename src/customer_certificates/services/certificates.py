"""Certificates: checked, uploaded, shown, activated, deleted."""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import bindparam, insert, select

from ..errors import Finding
from ..gateways.database import Call, ConstraintBroken, Database
from ..gateways.prepared import Row
from ..models import CONTENT, Certificate
from ..pki.material import Examined
from .contents import certificate_not_found, content_of, locked_certificate
from .data_keys import AnotherWasFirst, DataKeys
from .hostnames import Hostnames, names_of
from .inspection import Inspection
from .intermediates import Intermediates
from .private_keys import PrivateKeys
from .revisions import Revisions
from .uploads import Activation, CertificateMaterial, CertificateUpload
from .users import locked_user, user_not_found
from .views import (
    SHOWN,
    CertificateView,
    CheckView,
    Tags,
    UploadView,
    certificate_view,
    require,
    require_view,
    tag_of_revision,
    view_of,
)


class Certificates:
    """The use cases of a certificate that is not replaced.

    Every change replaces the user's revision in its own transaction; that is what makes the cached
    lists right.
    """

    def __init__(
        self,
        database: Database,
        inspection: Inspection,
        intermediates: Intermediates,
        hostnames: Hostnames,
        revisions: Revisions,
        data_keys: DataKeys,
        private_keys: PrivateKeys,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._inspection = inspection
        self._intermediates = intermediates
        self._hostnames = hostnames
        self._revisions = revisions
        self._data_keys = data_keys
        self._private_keys = private_keys
        self._now = now
        of_user = Certificate.user_id == bindparam("user_id")
        this = (Certificate.id == bindparam("certificate_id"), of_user)
        self._one = database.prepare(
            select(*(getattr(Certificate, name) for name in SHOWN)).where(*this)
        )
        self._hostnames_of = database.prepare(select(Certificate.hostnames).where(*this))
        self._same = database.prepare(
            select(Certificate.id)
            .where(
                of_user,
                Certificate.fingerprint_sha256 == bindparam("fingerprint"),
                Certificate.id != bindparam("replaced"),
            )
            .order_by(Certificate.id)
            .limit(1)
        )
        self._insert = database.prepare(
            insert(Certificate).returning(Certificate.id),
            ("user_id", "active", "created_at", *CONTENT),
        )

    def check(self, user_id: int, sent: CertificateMaterial, replaces: int | None) -> CheckView:
        """What was found in `sent`, and what activating it would change, in place of the
        certificate `replaces` or beside all others. Stores nothing.

        Raises NotFound (no such user, or no such certificate to replace), Unavailable.
        """
        self._revisions.current(user_id)
        replaced = (replaces, self._names(user_id, replaces)) if replaces else None
        examined = self._inspection.examine(user_id, sent)
        leaf = examined.leaf
        fingerprint = leaf.fingerprint_sha256 if leaf else None
        same = self._same(user_id=user_id, fingerprint=fingerprint, replaced=replaces or 0)
        return CheckView(
            accepted=self._inspection.accepts(examined),
            trust=examined.trust,
            certificate=leaf,
            chain_pem=examined.chain_pem,
            findings=_with_duplicate(examined, same),
            hostnames=self._hostnames.changes(user_id, leaf.hostnames if leaf else (), replaced),
        )

    def upload(self, user_id: int, sent: CertificateUpload, expected: Tags | None) -> UploadView:
        """Stores `sent`. Raises Invalid (it is not accepted), NotFound (no such user), Conflict (a
        hostname is another user's), PreconditionFailed, Unavailable."""
        examined = self._inspection.examine(user_id, sent)
        self._inspection.require(examined)
        inserted, same = self._store(user_id, sent, examined, expected)
        leaf = examined.leaf
        return UploadView(
            id=inserted,
            user_id=user_id,
            active=sent.active,
            trust=examined.trust,
            hostnames=list(leaf.hostnames) if leaf else [],
            not_before=leaf.not_before if leaf else None,
            not_after=leaf.not_after if leaf else None,
            fingerprint_sha256=leaf.fingerprint_sha256 if leaf else None,
            findings=_with_duplicate(examined, same),
        )

    def get(self, user_id: int, certificate_id: int) -> CertificateView:
        """The certificate. Raises NotFound, also where it is another user's."""
        rows = self._one(user_id=user_id, certificate_id=certificate_id)
        if not rows:
            raise certificate_not_found(user_id, certificate_id)
        return certificate_view(rows[0], self._now())

    def set_active(
        self, user_id: int, certificate_id: int, wanted: Activation, expected: Tags | None
    ) -> None:
        """Makes the certificate active or inactive; nothing changes where it is so already.

        Raises NotFound, Conflict (a hostname is another user's), PreconditionFailed.
        """
        with self._database.begin() as session:
            certificate = locked_certificate(session, user_id, certificate_id)
            require_view(expected, view_of(certificate, self._now()))
            if certificate.active != wanted.active:
                certificate.active = wanted.active
                session.flush()
                if wanted.active:
                    self._hostnames.claim(session, user_id, certificate.hostnames)
                else:
                    self._hostnames.free(session, user_id, certificate.hostnames)
                self._revisions.replace(session, user_id)

    def delete(self, user_id: int, certificate_id: int, expected: Tags | None) -> None:
        """Removes the certificate and its key. Raises NotFound, PreconditionFailed."""
        with self._database.begin() as session:
            certificate = locked_certificate(session, user_id, certificate_id)
            require_view(expected, view_of(certificate, self._now()))
            session.delete(certificate)
            session.flush()
            self._hostnames.free(session, user_id, certificate.hostnames)
            self._revisions.replace(session, user_id)

    def _names(self, user_id: int, certificate_id: int) -> list[str]:
        rows = self._hostnames_of(user_id=user_id, certificate_id=certificate_id)
        if not rows:
            raise certificate_not_found(user_id, certificate_id)
        return names_of(rows[0][0])

    def _store(
        self, user_id: int, sent: CertificateUpload, examined: Examined, expected: Tags | None
    ) -> tuple[int, list[Row]]:
        """The id of the new certificate, and that of one which is the same."""
        keys = self._data_keys.of_or_new(user_id)
        content = content_of(sent, examined)
        values = {**content, "user_id": user_id, "active": sent.active, "created_at": self._now()}
        fingerprint, hostnames = content["fingerprint_sha256"], content["hostnames"]
        # The revision comes first: it locks the user's row, so ids are given in the order in which
        # they become visible, and a list that is read page by page misses none.
        statements: list[Call] = [
            self._revisions.added(user_id, content["not_before"], content["not_after"]),
            (self._same, {"user_id": user_id, "fingerprint": fingerprint, "replaced": 0}),
            (self._insert, values),
            (self._hostnames.record_newest, {"user_id": user_id, "hostnames": hostnames}),
            *self._intermediates.keep(user_id, examined),
            *keys.to_store,
        ]

        def sealed(rows: list[list[Row]]) -> list[Call]:
            """What needs the certificate's id, to which the key is bound."""
            keys.require_stored(rows[len(rows) - len(keys.to_store) :])
            _, _, inserted, *_ = rows
            return [self._private_keys.added(keys, inserted[0][0], 1, examined.private_key)]

        try:
            if sent.active or expected is not None:
                _, same, inserted, *_ = self._run_with_conditions(
                    user_id, statements, sealed, hostnames if sent.active else None, expected
                )
            else:
                _, same, inserted, *_ = self._run_at_once(user_id, statements, sealed)
        except AnotherWasFirst:
            return self._store(user_id, sent, examined, expected)
        return inserted[0][0], same

    def _run_at_once(
        self, user_id: int, statements: list[Call], sealed: Callable[[list[list[Row]]], list[Call]]
    ) -> list[list[Row]]:
        try:
            return self._database.run_in_two_trips(statements, sealed)
        except ConstraintBroken:
            # The only constraint that can be broken: the user is not there.
            raise user_not_found(user_id) from None

    def _run_with_conditions(
        self,
        user_id: int,
        statements: list[Call],
        sealed: Callable[[list[list[Row]]], list[Call]],
        claimed: str | None,
        expected: Tags | None,
    ) -> list[list[Row]]:
        with self._database.begin() as session:
            user = locked_user(session, user_id)
            require(expected, tag_of_revision(user.certificates_revision))
            rows = [session.run(made, **values) for made, values in statements]
            for made, values in sealed(rows):
                session.run(made, **values)
            if claimed:
                self._hostnames.claim(session, user_id, claimed)
            return rows


def _with_duplicate(examined: Examined, same: list[Row]) -> list[Finding]:
    """All findings; one more where the user has the certificate already."""
    findings = list(examined.findings)
    if same:
        findings.append(
            Finding(
                "duplicate",
                "body",
                f"The same certificate is stored already, as certificate {same[0][0]}.",
                "Use that one; or keep both, and delete one when it is not active.",
                "warning",
            )
        )
    return findings
