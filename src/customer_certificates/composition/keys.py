"""What the commands do with keys: the parts put together for each."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime

from ..config import Config
from ..gateways.database import Database
from ..gateways.database.schema import overwrite_freed
from ..gateways.master_keys import MasterKeys, WrongMasterKey, open_master_keys
from ..gateways.metrics import Metrics
from ..services.audit.log import Audit
from ..services.keys.data_keys import DataKeys
from ..services.keys.erasure import KeyErasure
from ..services.keys.private_keys import PrivateKeys
from ..services.principal import Caller
from ..services.upgrades.rewrap_keys import Rewrapping
from ..services.upgrades.seal_plaintext_keys import Remains, UnsealedKeys


class KeysError(Exception):
    """The service cannot work with the keys as they are. The message says what to do."""


def master_keys_of(config: Config) -> MasterKeys:
    """The master keys that are configured. Raises MasterKeyError."""
    return open_master_keys(config.master_key, config.master_keys_retiring, config.transit_token)


def require_usable(config: Config) -> None:
    """Raises MasterKeyError where a master key cannot be used, KeysError where stored keys are not
    sealed or their master key is not given, Unavailable where the database does not answer."""
    master_keys = master_keys_of(config)
    with _database(config) as database:
        if UnsealedKeys.are_there(database) or Remains(database, _now).are_there():
            raise KeysError(
                "Private keys that an earlier version stored are not sealed yet, or not yet "
                "overwritten. Run: customer-certificates migrate"
            )
        unknown = Rewrapping(database, master_keys, Audit(database, _now)).unknown()
    if unknown:
        raise _missing(unknown)


def expect_remains(config: Config) -> None:
    """To be called before any key that an earlier version stored is sealed. Raises Unavailable."""
    with _database(config) as database:
        Remains(database, _now).expect()


def seal_unsealed(config: Config, warn: Callable[[str], None]) -> int:
    """Seals private keys that an earlier version stored as they were; says how many they were.

    `warn` is called with what is left to do in the database's files.

    Nothing is left of them in the database's files then, though an earlier run may have been
    killed before it came to that. Raises MasterKeyError, SchemaError, Unavailable.
    """
    with _database(config) as database:
        number = 0
        if UnsealedKeys.are_there(database):
            data_keys = DataKeys(database, master_keys_of(config), _now)
            audit, caller = Audit(database, _now), Caller("command", "migrate", "")
            with closing(data_keys):
                parts = (database, data_keys, PrivateKeys(database), audit, caller)
                number = UnsealedKeys(*parts).run()
        remains = Remains(database, _now)
        if not remains.are_there():
            return number
    if left := overwrite_freed(config.database_owner_url):
        warn(left)
    with _database(config) as database:
        Remains(database, _now).are_gone()
    return number


def rewrap(config: Config, told: Callable[[int, int], None]) -> dict[str, int]:
    """Has the current master key wrap all data keys; gives how many each master key wraps then.

    `told` is called with how many are done, and how many there were to do. Raises MasterKeyError,
    KeysError, Unavailable.
    """
    with _database(config) as database:
        rewrapping = Rewrapping(database, master_keys_of(config), Audit(database, _now))
        _, *others = rewrapping.counts().values()
        caller = Caller("command", "keys rewrap", "")
        try:
            rewrapping.run(caller, lambda done: told(done, sum(others)))
        except WrongMasterKey as error:
            raise _missing(str(error)) from None
        # If a reader is in the way now, the service's worker tries again.
        KeyErasure(database).run()
        return rewrapping.counts()


def counts(config: Config) -> dict[str, int]:
    """How many data keys each master key wraps, the current one first. Raises as `rewrap` does."""
    with _database(config) as database:
        return Rewrapping(database, master_keys_of(config), Audit(database, _now)).counts()


@contextmanager
def _database(config: Config) -> Iterator[Database]:
    database = Database(config.database_url, Metrics(None), threads=2)
    try:
        yield database
    finally:
        database.close()


def _missing(master_key_id: str) -> KeysError:
    return KeysError(
        f"Data keys are wrapped by the master key {master_key_id}, which neither CC_MASTER_KEY "
        "nor CC_MASTER_KEYS_RETIRING names. Name it in one of them."
    )


def _now() -> datetime:
    return datetime.now(UTC)
