"""Stores the next version of a certificate, and keeps the last five."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, insert, select

from ....gateways.database import Database, Transaction
from ....models import CONTENT, Certificate, CertificateVersion
from ....pki.names.ownership import Evidence
from ...hostnames.ownership import Hostnames, evidence_of_row
from ...keys.private_keys import PrivateKeys
from ...revisions import DATES, Revisions

# The number of versions that are kept, including the current one.
KEPT = 5


class VersionStore:
    """Performs, within a transaction, the steps that every replacement shares."""

    def __init__(
        self,
        database: Database,
        hostnames: Hostnames,
        revisions: Revisions,
        private_keys: PrivateKeys,
        now: Callable[[], datetime],
    ) -> None:
        self._hostnames = hostnames
        self._revisions = revisions
        self._private_keys = private_keys
        self._now = now
        certificate_id: Any = bindparam("certificate_id")
        columns = ("version", *CONTENT)
        self._insert_earlier = database.prepare(
            insert(CertificateVersion).from_select(
                ["certificate_id", *columns],
                select(Certificate.id, *(getattr(Certificate, name) for name in columns)).where(
                    Certificate.id == certificate_id
                ),
            )
        )
        self._delete_oldest = database.prepare(
            delete(CertificateVersion).where(
                CertificateVersion.certificate_id == certificate_id,
                CertificateVersion.version <= bindparam("version"),
            )
        )

    def put(
        self,
        session: Transaction,
        certificate: Certificate,
        content: Mapping[str, Any],
        granted: Evidence | None = None,
    ) -> None:
        """Makes `content` the next version of a locked certificate.

        The caller stores the key of that version. If an operator has `granted` the hostnames, that
        proves them. Raises Conflict if the user cannot claim a hostname.
        """
        user_id, certificate_id = certificate.user_id, certificate.id
        hostnames_before = certificate.hostnames
        session.run(self._insert_earlier, certificate_id=certificate_id)
        certificate.version += 1
        for name, value in content.items():
            setattr(certificate, name, value)
        certificate.watch_expiry(self._now())
        session.flush()
        oldest = certificate.version - KEPT
        session.run(self._delete_oldest, certificate_id=certificate_id, version=oldest)
        self._private_keys.drop(session, certificate_id, oldest)
        self._hostnames.of_certificates.replace(
            session, user_id, certificate_id, certificate.hostnames
        )
        if certificate.active:
            evidence = granted or evidence_of_row(certificate, self._now())
            self._hostnames.claim(
                session, user_id, certificate.hostnames, evidence, no_longer=hostnames_before
            )
        elif granted:
            self._hostnames.claim(session, user_id, certificate.hostnames, granted)
        statement, values = self._revisions.added(
            user_id, {name: getattr(certificate, name) for name in DATES}
        )
        session.run(statement, **values)
