"""The parts that the use cases of certificates share, and the frame of each change."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from ...gateways.database import Database, Transaction
from ...models import Certificate
from ..audit.log import Audit, PendingEntry
from ..etags import Tags, require_view
from ..events.log import Events
from ..hostnames.ownership import Hostnames
from ..idempotency import IdempotentRequest
from ..keys.data_keys import DataKeys
from ..keys.private_keys import PrivateKeys
from ..principal import Principal
from ..revisions import Revisions
from .contents import certificate_path, locked_certificate
from .intermediates import Intermediates
from .validation import Validation
from .views import view_of


@dataclass(frozen=True, slots=True)
class CertificateParts:
    """The parts of Certificates and Versions."""

    database: Database
    validation: Validation
    intermediates: Intermediates
    hostnames: Hostnames
    revisions: Revisions
    audit: Audit
    events: Events
    data_keys: DataKeys
    private_keys: PrivateKeys
    clock: Callable[[], datetime]

    @contextmanager
    def change(
        self,
        principal: Principal,
        action: str,
        user_id: int,
        certificate_id: int,
        expected: Tags | None,
        idempotent: IdempotentRequest,
    ) -> Iterator[tuple[Transaction, Certificate, PendingEntry]]:
        """Begins the transaction of a change: yields it, the locked certificate, and the entry.

        The block must add the entry last. Raises NotFound, PreconditionFailed.
        """
        path = certificate_path(user_id, certificate_id)
        write = self.audit.begin(principal, action, user_id, path, idempotent)
        with write as (session, entry):
            certificate = locked_certificate(session, user_id, certificate_id)
            require_view(expected, view_of(certificate, self.clock()))
            yield session, certificate, entry
