"""Commands for keys."""

from collections.abc import Callable

from ..composition import Services
from ..config import Config
from ..gateways.database.schema import vacuum_key_tables
from ..gateways.master_keys import WrongMasterKey
from ..services.keys.erasure import KeyErasure
from ..services.principal import Principal
from ..services.upgrades.rewrap_keys import Rewrapping
from ..services.upgrades.seal_plaintext_keys import PendingErase, PlaintextKeys


class KeysError(Exception):
    """The service cannot use the stored keys. The message gives the remedy."""


def require_usable(config: Config) -> None:
    """Checks that the service can use the stored keys.

    Raises MasterKeyError if a master key cannot be used. Raises KeysError if stored keys are not
    encrypted, or their master key is not configured. Raises Unavailable if the database does not
    respond.
    """
    with Services.of_command(config) as services:
        database, now = services.database, services.now
        rewrapping = Rewrapping(database, services.master_keys, services.audit)
        if PlaintextKeys.are_there(database) or PendingErase(database, now).are_there():
            raise KeysError(
                "Private keys that an earlier version stored are not encrypted yet, or not yet "
                "overwritten. Run: customer-certificates migrate"
            )
        unknown = rewrapping.unknown()
    if unknown:
        raise _missing(unknown)


def expect_remains(config: Config) -> None:
    """Records that stored plaintext keys must be erased.

    Call this before such keys are encrypted. Raises Unavailable.
    """
    with Services.of_command(config) as services:
        PendingErase(services.database, services.now).expect()


def seal_unsealed(config: Config, warn: Callable[[str], None]) -> int:
    """Encrypts plaintext private keys of an earlier version, and returns their number.

    `warn` is called with the remaining work in the database's files. Afterwards these files contain
    no plaintext keys, even if an earlier run was killed halfway. Raises MasterKeyError,
    SchemaError, Unavailable.
    """
    with Services.of_command(config) as services:
        number = 0
        if PlaintextKeys.are_there(services.database):
            number = plaintext_keys(services).run()
        if not PendingErase(services.database, services.now).are_there():
            return number
    if left := vacuum_key_tables(config.database_owner_url):
        warn(left)
    with Services.of_command(config) as services:
        PendingErase(services.database, services.now).are_gone()
    return number


def plaintext_keys(services: Services) -> PlaintextKeys:
    """Returns the operation that encrypts the keys of an earlier version."""
    caller = Principal("command", "migrate", "")
    return PlaintextKeys(
        services.database, services.data_keys, services.private_keys, services.audit, caller
    )


def rewrap(config: Config, told: Callable[[int, int], None]) -> dict[str, int]:
    """Rewraps all data keys with the current master key.

    Returns how many data keys each master key wraps. `told` is called with the number of rewrapped
    keys and the total. Raises MasterKeyError, KeysError, Unavailable.
    """
    with Services.of_command(config) as services:
        rewrapping = Rewrapping(services.database, services.master_keys, services.audit)
        _, *others = rewrapping.counts().values()
        caller = Principal("command", "keys rewrap", "")
        try:
            rewrapping.run(caller, lambda done: told(done, sum(others)))
        except WrongMasterKey as error:
            raise _missing(str(error)) from None
        # If a reader blocks this now, the service's worker tries again.
        KeyErasure(services.database).run()
        return rewrapping.counts()


def counts(config: Config) -> dict[str, int]:
    """Returns how many data keys each master key wraps, the current one first.

    Raises as `rewrap` does.
    """
    with Services.of_command(config) as services:
        return Rewrapping(services.database, services.master_keys, services.audit).counts()


def _missing(master_key_id: str) -> KeysError:
    return KeysError(
        f"Some data keys are wrapped by the master key {master_key_id}, which is not configured. "
        "Add it to CC_PREVIOUS_MASTER_KEYS."
    )
