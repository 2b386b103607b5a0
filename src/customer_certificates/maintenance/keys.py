"""Commands for keys."""

from collections.abc import Callable

from ..composition import Services
from ..config import Config
from ..gateways.master_keys import WrongMasterKey
from ..services.keys.erasure import KeyErasure
from ..services.principal import Principal
from ..services.rewrap_keys import Rewrapping


class KeysError(Exception):
    """The service cannot use the stored keys. The message gives the remedy."""


def require_usable(config: Config) -> None:
    """Checks that the service can use the stored keys.

    Raises MasterKeyError if a master key cannot be used. Raises KeysError if the master key of
    stored keys is not configured. Raises Unavailable if the database does not respond.
    """
    with Services.of_command(config) as services:
        unknown = Rewrapping(services.database, services.master_keys, services.audit).unknown()
    if unknown:
        raise _missing(unknown)


def rewrap(config: Config, report: Callable[[int, int], None]) -> dict[str, int]:
    """Rewraps all data keys with the current master key.

    Returns how many data keys each master key wraps. `report` is called with the number of
    rewrapped keys and the total. Raises MasterKeyError, KeysError, Unavailable.
    """
    with Services.of_command(config) as services:
        rewrapping = Rewrapping(services.database, services.master_keys, services.audit)
        _, *others = rewrapping.counts().values()
        principal = Principal("command", "keys rewrap", "")
        try:
            rewrapping.run(principal, lambda done: report(done, sum(others)))
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
