"""Validates, once, what the first version of the service stored without validation."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import and_, bindparam, select

from ...crypto.secret import Secret
from ...errors import Conflict
from ...gateways.database import Database
from ...gateways.database.prepared import Prepared
from ...models import Certificate, PlaintextKey
from ...pki.submission import Submission
from ..audit.log import Audit
from ..certificates.contents import certificate_path, content_of, locked_certificate
from ..certificates.validation import Validation
from ..hostnames.ownership import Hostnames, evidence_of
from ..keys.data_keys import DataKeys, DataKeyStatements
from ..principal import Principal
from ..revisions import Revisions
from .seal_plaintext_keys import PlaintextKeys

_BATCH = 100


class Reexamination:
    """Brings certificates that were stored without validation to the state of an upload."""

    def __init__(
        self,
        database: Database,
        inspection: Validation,
        hostnames: Hostnames,
        revisions: Revisions,
        audit: Audit,
        data_keys: DataKeys,
        plaintext_keys: PlaintextKeys,
        caller: Principal,
        now: Callable[[], datetime],
    ) -> None:
        """`caller` is the principal that runs the command."""
        self._database = database
        self._inspection = inspection
        self._hostnames = hostnames
        self._revisions = revisions
        self._audit = audit
        self._caller = caller
        self._now = now
        self._data_keys = data_keys
        self._plaintext_keys = plaintext_keys
        self._unread = _unread(database)

    @staticmethod
    def is_due(database: Database) -> bool:
        """Returns whether anything is not validated."""
        return bool(_unread(database)(after=0))

    def run(self) -> int:
        """Validates everything that is not validated, by id, and returns its number.

        Can be interrupted and repeated.
        """
        number = after = 0
        while rows := self._unread(after=after):
            for after, user_id, body, private_key in rows:
                self._examine(user_id, after, body, bytes(private_key))
            number += len(rows)
        return number

    def _examine(self, user_id: int, certificate_id: int, body: str, private_key: bytes) -> None:
        submission = Submission(body, private_key=private_key)
        examined = self._inspection.validate(user_id, submission)
        content, key = content_of(examined), examined.private_key
        keys = self._data_keys.stored(user_id)
        try:
            self._put(keys, certificate_id, content, key, claim=True)
        except Conflict as taken:
            # Both were active before hostnames had owners. The first one keeps the hostname, and
            # what is served does not change unnoticed.
            findings = msgspec.json.decode(content["findings"]) + [
                msgspec.to_builtins(replace(finding, severity="warning"))
                for finding in taken.errors
            ]
            content["findings"] = msgspec.json.encode(findings).decode()
            self._put(keys, certificate_id, content, key, claim=False)

    def _put(
        self,
        keys: DataKeyStatements,
        certificate_id: int,
        content: dict[str, Any],
        key: Secret,
        *,
        claim: bool,
    ) -> None:
        user_id = keys.user_id
        with self._database.begin(user_id) as session:
            certificate = locked_certificate(session, user_id, certificate_id)
            for name, value in content.items():
                setattr(certificate, name, value)
            session.flush()
            self._hostnames.of_certificates.replace(
                session, user_id, certificate_id, certificate.hostnames
            )
            if certificate.active and claim:
                self._hostnames.claim_active(
                    session,
                    user_id,
                    certificate.hostnames,
                    evidence_of(content, self._now()),
                )
            statement, values = self._revisions.added(user_id, content)
            session.run(statement, **values)
            version = certificate.version
            for call in self._plaintext_keys.replaced(keys, certificate_id, version, key):
                session.run(call[0], **call[1])
            path = certificate_path(user_id, certificate_id)
            self._audit.record(session, self._caller, "certificate.examine", user_id, path)


def _unread(database: Database) -> Prepared:
    """Selects uploads without a finding; unreadable ones that were validated have one."""
    return database.prepare(
        select(Certificate.id, Certificate.user_id, Certificate.body, PlaintextKey.private_key)
        .join_from(
            Certificate,
            PlaintextKey,
            and_(
                PlaintextKey.certificate_id == Certificate.id,
                PlaintextKey.version == Certificate.version,
            ),
        )
        .where(
            Certificate.id > bindparam("after"),
            Certificate.trust == "unreadable",
            Certificate.findings == "[]",
        )
        .order_by(Certificate.id)
        .limit(_BATCH),
        tenant=None,
    )
