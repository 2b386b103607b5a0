"""What the first version stored unread is examined, once."""

from dataclasses import replace
from typing import Any

import msgspec
from sqlalchemy import bindparam, select

from ..errors import Conflict
from ..gateways.database import Database
from ..gateways.prepared import Prepared
from ..models import Certificate
from .audit import Audit
from .callers import Caller
from .contents import certificate_path, content_of, locked_certificate
from .hostnames import Hostnames
from .inspection import Inspection
from .revisions import Revisions
from .uploads import CertificateMaterial

_BATCH = 100


class Reexamination:
    """Brings certificates that were stored unread to what an upload makes of them."""

    def __init__(
        self,
        database: Database,
        inspection: Inspection,
        hostnames: Hostnames,
        revisions: Revisions,
        audit: Audit,
        caller: Caller,
    ) -> None:
        """`caller` is who runs the command that examines."""
        self._database = database
        self._inspection = inspection
        self._hostnames = hostnames
        self._revisions = revisions
        self._audit = audit
        self._caller = caller
        self._unread = _unread(database)

    @staticmethod
    def is_due(database: Database) -> bool:
        """Whether anything is unread."""
        return bool(_unread(database)(after=0))

    def run(self) -> int:
        """Examines all that is unread, by id, and gives how many they were. May be stopped and
        started again."""
        number = after = 0
        while rows := self._unread(after=after):
            for after, user_id, body, private_key in rows:
                self._examine(user_id, after, body, private_key)
            number += len(rows)
        return number

    def _examine(self, user_id: int, certificate_id: int, body: str, private_key: bytes) -> None:
        sent = CertificateMaterial(body=body, private_key=private_key)
        content = content_of(sent, self._inspection.examine(user_id, sent))
        try:
            self._put(user_id, certificate_id, content, claim=True)
        except Conflict as taken:
            # Both were active before anybody asked whose the name is: the first one keeps it, and
            # what is served does not change behind anybody's back.
            findings = msgspec.json.decode(content["findings"]) + [
                msgspec.to_builtins(replace(finding, severity="warning"))
                for finding in taken.errors
            ]
            content["findings"] = msgspec.json.encode(findings).decode()
            self._put(user_id, certificate_id, content, claim=False)

    def _put(
        self, user_id: int, certificate_id: int, content: dict[str, Any], *, claim: bool
    ) -> None:
        with self._database.begin() as session:
            certificate = locked_certificate(session, user_id, certificate_id)
            for name, value in content.items():
                setattr(certificate, name, value)
            session.flush()
            self._hostnames.replace(session, user_id, certificate_id, certificate.hostnames)
            if certificate.active and claim:
                self._hostnames.claim(session, user_id, certificate.hostnames)
            statement, values = self._revisions.added(
                user_id, certificate.not_before, certificate.not_after
            )
            session.run(statement, **values)
            path = certificate_path(user_id, certificate_id)
            self._audit.record(session, self._caller, "certificate.examine", user_id, path)


def _unread(database: Database) -> Prepared:
    """What was examined and could not be read has a finding that says so."""
    return database.prepare(
        select(Certificate.id, Certificate.user_id, Certificate.body, Certificate.private_key)
        .where(
            Certificate.id > bindparam("after"),
            Certificate.trust == "opaque",
            Certificate.findings == "[]",
        )
        .order_by(Certificate.id)
        .limit(_BATCH)
    )
