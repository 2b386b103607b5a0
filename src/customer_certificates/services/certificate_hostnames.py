"""Which hostnames certificates are for: recorded, so that certificates are found by them."""

from typing import Any

from sqlalchemy import BigInteger, Text, bindparam, delete, insert, select

from ..gateways.database import Database, Transaction
from ..gateways.sql import items_of
from ..models import Certificate, CertificateHostname


class CertificateHostnames:
    """The statements that record the hostnames of certificates, active or not."""

    def __init__(self, database: Database) -> None:
        names = items_of(bindparam("hostnames", type_=Text))
        user_id: Any = bindparam("user_id", type_=BigInteger)
        # The newest certificate of a user whose row is locked is the one just inserted.
        newest = (
            select(Certificate.id)
            .where(Certificate.user_id == user_id)
            .order_by(Certificate.id.desc())
            .limit(1)
            .scalar_subquery()
        )
        columns = ["user_id", "hostname", "certificate_id"]
        self.record_newest = database.prepare(
            insert(CertificateHostname).from_select(columns, select(user_id, names.c.value, newest))
        )
        self._record = database.prepare(
            insert(CertificateHostname).from_select(
                columns,
                select(user_id, names.c.value, bindparam("certificate_id", type_=BigInteger)),
            )
        )
        self._forget = database.prepare(
            delete(CertificateHostname).where(
                CertificateHostname.certificate_id == bindparam("certificate_id")
            )
        )

    def replace(
        self, session: Transaction, user_id: int, certificate_id: int, hostnames: str
    ) -> None:
        """Records that the certificate is for these names (JSON), and for no others."""
        session.run(self._forget, certificate_id=certificate_id)
        session.run(
            self._record, user_id=user_id, certificate_id=certificate_id, hostnames=hostnames
        )
