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
    """Validates the certificates that the first version stored without validation.

    Returns their number. Raises MasterKeyError; Unavailable if the database does not respond.
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
    """Records when, and whether, servers can serve stored certificates.

    These are certificates of earlier versions, whose keys must be encrypted. Returns the number of
    certificates. Raises MasterKeyError; Unavailable if the database does not respond.
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
    """Records which stored certificates prove control of their hostnames.

    These are certificates of earlier versions. Their claims get that proof. Returns the number of
    certificates. Raises Unavailable if the database does not respond.
    """
    with Services.of_command(config) as services:
        if not ClaimProofs.is_due(services.database):
            return 0
        validation = _validation(services)
        return ClaimProofs(services.database, validation, services.hostnames, services.now).run()


def _validation(services: Services) -> Validation:
    return Validation(services.sandbox_of(1), services.intermediates, services.now, enforce=False)
