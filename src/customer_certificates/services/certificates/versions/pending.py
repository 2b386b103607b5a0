"""Stores, shows and removes the pending versions of scheduled cutovers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import delete, insert, select, update

from ....crypto.secret import Secret
from ....errors import NotFound
from ....gateways.database import Transaction
from ....models import Certificate, CertificateVersion
from ...events.log import CertificateState
from ...keys.data_keys import DataKeyStatements
from ...keys.private_keys import PrivateKeys
from ..contents import content_of_row
from ..views import PendingView


@dataclass(frozen=True, slots=True)
class PendingVersions:
    """Schedules cutovers in the transaction of a use case that has locked the certificate.

    A pending version has the number after the current one, and its key is encrypted for that
    number. The cutover itself thus needs no key.
    """

    private_keys: PrivateKeys

    def find(self, session: Transaction, certificate: Certificate) -> CertificateVersion | None:
        """Returns the pending version. None: there is none, though `activate_at` may be set."""
        if certificate.activate_at is None:
            return None
        return session.scalars(
            select(CertificateVersion).where(*_next_of(certificate))
        ).one_or_none()

    def put(
        self,
        session: Transaction,
        keys: DataKeyStatements,
        certificate: Certificate,
        content: Mapping[str, Any],
        key: Secret,
        at: datetime,
    ) -> None:
        """Schedules `content` to take over at `at`, and replaces an earlier pending version."""
        self.remove(session, certificate)
        version = certificate.version + 1
        session.execute(
            insert(CertificateVersion).values(
                certificate_id=certificate.id, version=version, **content
            )
        )
        self.private_keys.add(session, keys, certificate.id, version, key)
        _set_cutover(certificate, content, version, at)
        session.flush()

    def remove(self, session: Transaction, certificate: Certificate) -> None:
        """Cancels the cutover, and deletes the pending version with its key."""
        if self.find(session, certificate):
            self.release(session, certificate)
            self.private_keys.remove(session, certificate.id, certificate.version + 1)
        certificate.activate_at = certificate.pending = None
        session.flush()

    def release(self, session: Transaction, certificate: Certificate) -> None:
        """Deletes the pending version, but keeps its key for the version that it becomes."""
        session.execute(delete(CertificateVersion).where(*_next_of(certificate)))

    def make_room(
        self, session: Transaction, keys: DataKeyStatements, certificate: Certificate
    ) -> None:
        """Gives the pending version the number after the next one."""
        pending = self.find(session, certificate)
        if pending is None or certificate.activate_at is None:
            return
        version = pending.version
        key = self.private_keys.open(session, keys, certificate.id, version)
        session.execute(
            update(CertificateVersion).where(*_next_of(certificate)).values(version=version + 1)
        )
        self.private_keys.add(session, keys, certificate.id, version + 1, key)
        self.private_keys.remove(session, certificate.id, version)
        _set_cutover(certificate, content_of_row(pending), version + 1, certificate.activate_at)


def schedule_activation(certificate: Certificate, at: datetime) -> None:
    """Schedules the activation of the current version at `at`."""
    _set_cutover(certificate, content_of_row(certificate), certificate.version, at)


def pending_json(content: Mapping[str, Any], version: int, at: datetime) -> str:
    """Returns the PendingView of a version that is served from `at` on, as JSON."""
    return msgspec.json.encode(
        PendingView(
            version,
            at,
            msgspec.Raw(content["hostnames"].encode()),  # pyrefly: ignore[bad-argument-type]
            content["not_before"],
            content["not_after"],
            content["fingerprint_sha256"],
            msgspec.Raw(content["findings"].encode()),  # pyrefly: ignore[bad-argument-type]
        )
    ).decode()


def pending_state(certificate: Certificate) -> CertificateState:
    """Returns the state of the pending version for an event; it is not active yet."""
    if certificate.pending is None:
        raise NotFound(f"Certificate {certificate.id} has no scheduled cutover.")
    view = msgspec.json.decode(certificate.pending, type=PendingView)
    return CertificateState(
        certificate.id,
        view.version,
        False,
        msgspec.json.encode(view.hostnames).decode(),
        view.not_after,
        view.fingerprint_sha256,
    )


def _set_cutover(
    certificate: Certificate, content: Mapping[str, Any], version: int, at: datetime
) -> None:
    certificate.activate_at = at
    certificate.pending = pending_json(content, version, at)


def _next_of(certificate: Certificate) -> tuple[Any, ...]:
    return (
        CertificateVersion.certificate_id == certificate.id,
        CertificateVersion.version == certificate.version + 1,
    )
