"""Validates the certificates that earlier versions stored."""

from ..composition import Services
from ..config import Config
from ..services.certificates.validation import Validation
from ..services.principal import Principal
from ..services.upgrades.prove_claims import ClaimProofs
from ..services.upgrades.reexamine import Reexamination
from ..services.upgrades.serve_windows import ServeWindows
from .keys import plaintext_keys


def examine_unread(config: Config) -> int:
    """Examines the certificates that the first version stored unread; says how many they were.

    Raises MasterKeyError; Unavailable where the database does not answer.
    """
    with Services.of_command(config) as services:
        if not Reexamination.is_due(services.database):
            return 0
        return Reexamination(
            services.database,
            _validation(services),
            services.hostnames,
            services.revisions,
            services.audit,
            services.data_keys,
            plaintext_keys(services),
            Principal("command", "migrate", ""),
            services.now,
        ).run()


def examine_serve_windows(config: Config) -> int:
    """Records when, and whether, servers can serve the certificates of earlier versions.

    Returns how many certificates it has read. Their keys must be sealed. Raises MasterKeyError;
    Unavailable if the database does not answer.
    """
    with Services.of_command(config) as services:
        if not ServeWindows.is_due(services.database):
            return 0
        return ServeWindows(
            services.database,
            _validation(services),
            services.revisions,
            services.data_keys,
            services.private_keys,
            services.now,
        ).run()


def examine_proofs(config: Config) -> int:
    """Records which certificates of earlier versions prove control of their hostnames.

    Their claims get that proof. Returns how many certificates it has read. Raises Unavailable if
    the database does not answer.
    """
    with Services.of_command(config) as services:
        if not ClaimProofs.is_due(services.database):
            return 0
        validation = _validation(services)
        return ClaimProofs(services.database, validation, services.hostnames, services.now).run()


def _validation(services: Services) -> Validation:
    return Validation(services.sandbox_of(1), services.intermediates, services.now, enforce=False)
