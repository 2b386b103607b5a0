"""Records the hostnames of certificates, as an index for lookups."""

from typing import Any

from sqlalchemy import BigInteger, Text, bindparam, delete, insert, select

from ...gateways.database import Database, Transaction
from ...gateways.database.sql_functions import items_of
from ...models import Certificate, CertificateHostname


class CertificateHostnames:
    """The statements that record the hostnames of certificates, active or not."""

    def __init__(self, database: Database) -> None:
        names = items_of(bindparam("hostnames", type_=Text))
        user_id: Any = bindparam("user_id", type_=BigInteger)
        certificate_id: Any = bindparam("certificate_id", type_=BigInteger)
        # The newest certificate of a user whose row is locked is the one just inserted.
        newest = (
            select(Certificate.id)
            .where(Certificate.user_id == user_id)
            .order_by(Certificate.id.desc())
            .limit(1)
            .scalar_subquery()
        )

        def recorded(of: Any) -> Any:
            active = select(Certificate.active).where(Certificate.id == of).scalar_subquery()
            return insert(CertificateHostname).from_select(
                ["user_id", "hostname", "certificate_id", "active"],
                select(user_id, names.c.value, of, active),
            )

        self.record_newest = database.prepare(recorded(newest))
        self._record = database.prepare(recorded(certificate_id))
        self._forget = database.prepare(
            delete(CertificateHostname).where(CertificateHostname.certificate_id == certificate_id)
        )

    def replace(
        self, session: Transaction, user_id: int, certificate_id: int, hostnames: str
    ) -> None:
        """Records that the certificate has exactly these hostnames (JSON)."""
        session.run(self._forget, certificate_id=certificate_id)
        session.run(
            self._record, user_id=user_id, certificate_id=certificate_id, hostnames=hostnames
        )
