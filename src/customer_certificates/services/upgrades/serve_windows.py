"""Adds to old certificates whether servers can load them."""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select

from ...crypto.sealed_format import CannotOpen
from ...gateways.database import Database
from ...gateways.database.prepared import Prepared
from ...gateways.database.sql_functions import replacing
from ...models import Certificate, PrivateKey, ServiceState
from ...pki.submission import Submission
from ..certificates.candidates import OF_KEY
from ..certificates.contents import locked_certificate
from ..certificates.validation import Validation
from ..keys.data_keys import DataKeys
from ..keys.private_keys import PrivateKeys
from ..revisions import DATES, Revisions
from ..terminators.feed import BEGAN

_BATCH = 100

_log = logging.getLogger(__name__)


class ServeWindows:
    """Validates such certificates, and stores when and whether servers can serve them.

    Changes nothing else: their findings, trust and hostnames stay.
    """

    def __init__(
        self,
        database: Database,
        inspection: Validation,
        revisions: Revisions,
        data_keys: DataKeys,
        private_keys: PrivateKeys,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._inspection = inspection
        self._revisions = revisions
        self._data_keys = data_keys
        self._private_keys = private_keys
        self._now = now
        self._unknown = _unknown(database)
        self._begin_feed_anew = database.prepare(
            replacing(ServiceState, ServiceState.name, (ServiceState.since,)), ("name", "since")
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
            number += sum(self._examine(*row) for row in rows)
            after = rows[-1][0]
        return number

    def _examine(
        self,
        certificate_id: int,
        user_id: int,
        version: int,
        body: str,
        chain: str | None,
        sealed: bytes,
    ) -> bool:
        keys = self._data_keys.stored(user_id)
        try:
            key = self._private_keys.opened(sealed, keys, certificate_id, version)
        except CannotOpen as reason:
            _log.error("The key of certificate %s cannot be decrypted. %s", certificate_id, reason)
            return False
        submission = Submission(body, chain or "", key.reveal())
        examined = self._inspection.validate(user_id, submission)
        if examined.serve_not_before is None:
            return False
        with self._database.begin(user_id) as session:
            certificate = locked_certificate(session, user_id, certificate_id)
            if certificate.version != version:
                return False
            certificate.serve_not_before = examined.serve_not_before
            certificate.serve_not_after = examined.serve_not_after
            certificate.not_servable = examined.not_servable
            session.flush()
            dates: dict[str, Any] = {name: getattr(certificate, name) for name in DATES}
            statement, values = self._revisions.added(user_id, dates)
            session.run(statement, **values)
            # Agents then read a snapshot, and drop the certificates that are not in it.
            session.run(self._begin_feed_anew, name=BEGAN, since=self._now())
        return True


def _unknown(database: Database) -> Prepared:
    return database.prepare(
        select(
            Certificate.id,
            Certificate.user_id,
            Certificate.version,
            Certificate.body,
            Certificate.chain,
            PrivateKey.sealed,
        )
        .join(PrivateKey, OF_KEY)
        .where(
            Certificate.id > bindparam("after"),
            Certificate.trust != "unreadable",
            Certificate.serve_not_before.is_(None),
            Certificate.not_servable.is_(None),
        )
        .order_by(Certificate.id)
        .limit(_BATCH),
        tenant=None,
    )
