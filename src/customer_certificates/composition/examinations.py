"""The examination of certificates: its roots, and what `migrate` examines of earlier versions."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime

from ..config import Config
from ..gateways.database import Database
from ..gateways.metrics import Metrics
from ..gateways.sandbox.pool import Children
from ..pki.examination import TrustedRoots, encode, examiner_of
from ..services.audit.log import Audit
from ..services.certificates.intermediates import Intermediates
from ..services.certificates.validation import Inspection
from ..services.hostnames.ownership import Hostnames
from ..services.keys.data_keys import DataKeys
from ..services.keys.private_keys import PrivateKeys
from ..services.principal import Caller
from ..services.revisions import Revisions
from ..services.upgrades.prove_claims import ClaimProofs
from ..services.upgrades.reexamine import Reexamination
from ..services.upgrades.seal_plaintext_keys import UnsealedKeys
from ..services.upgrades.serve_windows import ServeWindows
from .keys import master_keys_of
from .ownership import ownership_rules


def roots_of(config: Config) -> bytes:
    """Returns the roots that the examiner trusts, encoded for its process."""
    return encode(TrustedRoots(config.roots_pem, config.proving_roots_pem))


def examine_unread(config: Config) -> int:
    """Examines the certificates that the first version stored unread; says how many they were.

    Raises MasterKeyError; Unavailable where the database does not answer.
    """
    with _examining(config, Reexamination.is_due) as parts:
        if parts is None:
            return 0
        database, inspection, data_keys, private_keys = parts
        audit, caller = Audit(database, _now), Caller("command", "migrate", "")
        return Reexamination(
            database,
            inspection,
            Hostnames(database, _now, ownership_rules(config)),
            Revisions(database, _now),
            audit,
            data_keys,
            UnsealedKeys(database, data_keys, private_keys, audit, caller),
            caller,
            _now,
        ).run()


def examine_serve_windows(config: Config) -> int:
    """Finds out when, and whether, servers can serve the certificates of earlier versions; says how
    many they were. Their keys must be sealed.

    Raises MasterKeyError; Unavailable if the database does not answer.
    """
    with _examining(config, ServeWindows.is_due) as parts:
        if parts is None:
            return 0
        database, inspection, data_keys, private_keys = parts
        revisions = Revisions(database, _now)
        return ServeWindows(database, inspection, revisions, data_keys, private_keys, _now).run()


def examine_proofs(config: Config) -> int:
    """Finds out which certificates of earlier versions prove control of their hostnames, and gives
    claims that proof; says how many certificates they were.

    Raises Unavailable if the database does not answer.
    """
    with _examining(config, ClaimProofs.is_due) as parts:
        if parts is None:
            return 0
        database, inspection, _, _ = parts
        hostnames = Hostnames(database, _now, ownership_rules(config))
        return ClaimProofs(database, inspection, hostnames, _now).run()


@contextmanager
def _examining(
    config: Config, is_due: Callable[[Database], bool]
) -> Iterator[tuple[Database, Inspection, DataKeys, PrivateKeys] | None]:
    """The examiner of stored certificates for a command; None if none is due (`is_due`)."""
    metrics = Metrics(None)
    with closing(Database(config.database_url, metrics, threads=2)) as database:
        if not is_due(database):
            yield None
            return
        children = Children(examiner_of, roots_of(config), size=1, count=metrics.child_ended)
        inspection = Inspection(children, Intermediates(database), _now, enforce=False)
        data_keys = DataKeys(database, master_keys_of(config), _now)
        try:
            yield database, inspection, data_keys, PrivateKeys(database)
        finally:
            data_keys.close()
            children.close()


def _now() -> datetime:
    return datetime.now(UTC)
