"""Adds proofs from stored certificates to claims made before proofs were recorded."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, bindparam, literal, select, union_all, update

from ...errors import NotFound
from ...gateways.database import Database, Transaction
from ...gateways.database.prepared import Prepared
from ...models import Certificate, CertificateVersion
from ...pki.submission import Submission
from ..certificates.contents import locked_certificate
from ..certificates.validation import Validation
from ..hostnames.ownership import Hostnames, evidence_of_row

_BATCH = 100


class ClaimProofs:
    """Validates stored certificates of public CAs: do they prove control of their hostnames?

    Changes nothing else. Contradictory claims of two users are not changed.
    """

    def __init__(
        self,
        database: Database,
        inspection: Validation,
        hostnames: Hostnames,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._inspection = inspection
        self._hostnames = hostnames
        self._now = now
        self._unknown = _unknown(database)
        answer: Any = bindparam("proves", type_=Boolean)
        self._store_version = database.prepare(
            update(CertificateVersion)
            .where(
                CertificateVersion.certificate_id == bindparam("certificate_id"),
                CertificateVersion.version == bindparam("of_version"),
            )
            .values(proves_hostnames=answer)
        )

    @staticmethod
    def is_due(database: Database) -> bool:
        """Returns whether there are such certificates."""
        return bool(_unknown(database)(after=0))

    def run(self) -> int:
        """Validates all of them, by id, and returns their number. Can be interrupted
        and repeated.
        """
        number = after = 0
        while rows := self._unknown(after=after):
            if len(rows) == _BATCH:
                # The next batch begins with all versions of this certificate; there are six at
                # most.
                rows = [row for row in rows if row[0] != rows[-1][0]]
            number += sum(self._examine(*row) for row in rows)
            after = rows[-1][0]
        return number

    def _examine(
        self, certificate_id: int, user_id: int, version: int, chain_pem: str, is_present: bool
    ) -> bool:
        proves = self._inspection.validate(user_id, Submission(chain_pem)).proves_hostnames
        try:
            with self._database.begin(user_id) as session:
                certificate = locked_certificate(session, user_id, certificate_id)
                if is_present and certificate.version == version:
                    certificate.proves_hostnames = proves
                    session.flush()
                    self._prove(session, certificate)
                else:
                    session.run(
                        self._store_version,
                        certificate_id=certificate_id,
                        of_version=version,
                        proves=proves,
                    )
        except NotFound:
            return False
        return True

    def _prove(self, session: Transaction, certificate: Certificate) -> None:
        evidence = evidence_of_row(certificate, self._now())
        if certificate.active and evidence.proof != "none":
            self._hostnames.strengthen(
                session, certificate.user_id, certificate.hostnames, evidence
            )


def _unknown(database: Database) -> Prepared:
    """Selects certificates and versions of public chains without a stored result."""
    after: Any = bindparam("after", type_=BigInteger)
    present = select(
        Certificate.id.label("id"),
        Certificate.user_id,
        Certificate.version.label("version"),
        Certificate.chain_pem,
        literal(True, Boolean),
    ).where(
        Certificate.id > after,
        Certificate.trust == "public",
        Certificate.chain_pem.is_not(None),
        Certificate.proves_hostnames.is_(None),
    )
    others = (
        select(
            CertificateVersion.certificate_id,
            Certificate.user_id,
            CertificateVersion.version,
            CertificateVersion.chain_pem,
            literal(False, Boolean),
        )
        .join(Certificate, Certificate.id == CertificateVersion.certificate_id)
        .where(
            CertificateVersion.certificate_id > after,
            CertificateVersion.trust == "public",
            CertificateVersion.chain_pem.is_not(None),
            CertificateVersion.proves_hostnames.is_(None),
        )
    )
    both = union_all(present, others).subquery()
    return database.prepare(
        select(both).order_by(both.c.id, both.c.version.desc()).limit(_BATCH), tenant=None
    )
