"""Records the hostnames of certificates, as an index for lookups."""

from typing import Any

from sqlalchemy import delete, insert, select

from ...gateways.database import BoundStatement, Database, Transaction, int_param, text_param
from ...gateways.database.sql_functions import items_of
from ...models import Certificate, CertificateHostname


class CertificateHostnames:
    """The statements that record the hostnames of certificates, active or not."""

    def __init__(self, database: Database) -> None:
        names = items_of(text_param("hostnames"))
        user_id = int_param("user_id")
        certificate_id = int_param("certificate_id")
        newest = (
            select(Certificate.id)
            .where(Certificate.user_id == user_id)
            .order_by(Certificate.id.desc())
            .limit(1)
            .scalar_subquery()
        )

        def inserted(of: Any) -> Any:
            active = select(Certificate.active).where(Certificate.id == of).scalar_subquery()
            return insert(CertificateHostname).from_select(
                ["user_id", "hostname", "certificate_id", "active"],
                select(user_id, names.c.value, of, active),
            )

        self._insert_of_newest = database.prepare(inserted(newest))
        self._insert = database.prepare(inserted(certificate_id))
        self._delete = database.prepare(
            delete(CertificateHostname).where(CertificateHostname.certificate_id == certificate_id)
        )

    def of_newest(self, user_id: int, hostnames: str) -> BoundStatement:
        """Returns the statement that records the hostnames (JSON) of the user's newest certificate.

        The user's row must be locked: the newest certificate is then the one just inserted.
        """
        return self._insert_of_newest, {"user_id": user_id, "hostnames": hostnames}

    def replace(
        self, session: Transaction, user_id: int, certificate_id: int, hostnames: str
    ) -> None:
        """Records that the certificate has exactly these hostnames (JSON)."""
        session.run(self._delete, certificate_id=certificate_id)
        session.run(
            self._insert, user_id=user_id, certificate_id=certificate_id, hostnames=hostnames
        )
