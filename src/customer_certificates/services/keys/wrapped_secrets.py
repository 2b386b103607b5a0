"""Secrets that a master key wraps: unwraps them, and caches them for minutes."""

import logging
import struct
from dataclasses import dataclass

from ...crypto.secret import Secret
from ...errors import Unavailable
from ...gateways.master_keys import MasterKeys, WrongMasterKey
from .secret_cache import SecretCache

_IDS = struct.Struct(">QI")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WrappedSecrets:
    """Secrets of one kind, by the id of their owner and their version.

    `purpose` separates the kind from others. `noun` names it, as in "data key of user".
    """

    master_keys: MasterKeys
    cache: SecretCache
    purpose: bytes
    noun: str

    def wrap(self, secret: Secret, owner_id: int, version: int) -> dict[str, bytes | str]:
        """Returns the columns `wrapped` and `master_key_id`. Raises Unavailable."""
        master_key = self.master_keys.current
        wrapped = master_key.wrap(secret, aad_of(self.purpose, owner_id, version))
        return {"wrapped": wrapped, "master_key_id": master_key.id}

    def unwrap(self, owner_id: int, version: int, wrapped: bytes, master_key_id: str) -> Secret:
        """Returns the secret of a row. Raises Unavailable."""
        name = (owner_id, version, bytes(wrapped))
        secret = self.cache.get(name)
        if secret is None:
            try:
                master_key = self.master_keys.of(master_key_id)
                secret = master_key.unwrap(name[2], aad_of(self.purpose, owner_id, version))
            except WrongMasterKey:
                _log.error(
                    "The %s %s cannot be unwrapped; it was wrapped by %s. CC_MASTER_KEY or "
                    "CC_PREVIOUS_MASTER_KEYS must name that key.",
                    self.noun,
                    owner_id,
                    master_key_id,
                )
                raise Unavailable(
                    "The stored key cannot be decrypted now. Retry later.", retry_after=30
                ) from None
            self.cache.put(name, secret)
        return secret

    def close(self) -> None:
        """Clears the cache."""
        self.cache.clear()


def aad_of(purpose: bytes, owner_id: int, version: int) -> bytes:
    """Returns the additional authenticated data of a wrapped secret."""
    return purpose + _IDS.pack(owner_id, version)
