"""Users' data keys: created with the first private key, wrapped by a master key, and cached.

The database has them wrapped, and unwrapping may query another machine. So call this before a
transaction, never within one.
"""

import logging
import os
import struct
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import bindparam, select

from ...crypto.sealed_format import DataKey
from ...crypto.secret import Secret
from ...errors import Unavailable, user_not_found
from ...gateways.database import BoundStatement, ConstraintBroken, Database
from ...gateways.database.prepared import Row
from ...gateways.database.sql_functions import insert_new
from ...gateways.master_keys import MasterKeys, WrongMasterKey
from ...models import UserDataKey
from .secret_cache import Present, SecretCache, present_in

_KEY_BYTES = 32
_FIRST_VERSION = 1
_DATA_KEY = b"cc/data-key/v1"
_IDS = struct.Struct(">QI")

# The columns of a data key.
WRAPPED = (UserDataKey.version, UserDataKey.wrapped, UserDataKey.master_key_id)

_log = logging.getLogger(__name__)


class DataKeyStatements(NamedTuple):
    """The data keys of a user, by version.

    `to_store` is the statement that stores a new one. Run it in the transaction that uses the key.
    """

    user_id: int
    by_version: dict[int, Secret]
    to_store: tuple[BoundStatement, ...] = ()

    @property
    def newest(self) -> DataKey:
        """Returns the key that encrypts."""
        version = max(self.by_version)
        return DataKey(version, self.by_version[version])

    def require_stored(self, rows: Sequence[list[Row]]) -> None:
        """Raises AnotherWasFirst if one of `rows`, the result of `to_store`, is missing."""
        if not all(rows):
            raise AnotherWasFirst


class AnotherWasFirst(Exception):  # noqa: N818 - nothing is wrong
    """Raised if two requests created a user's first data key at once, and the other one's is
    stored.
    """


class DataKeys:
    """Reads users' data keys, and creates them."""

    def __init__(
        self,
        database: Database,
        master_keys: MasterKeys,
        now: Callable[[], datetime],
        at_hand: Callable[[Present], SecretCache] = SecretCache,
    ) -> None:
        """`at_hand` creates the in-memory cache of unwrapped keys."""
        self._database = database
        self._master_keys = master_keys
        self._now = now
        self._at_hand = at_hand(present_in(database, UserDataKey.user_id))
        self._of = database.prepare(
            select(*WRAPPED).where(UserDataKey.user_id == bindparam("user_id")), by_key=True
        )
        self._insert = database.prepare(
            insert_new(UserDataKey).returning(UserDataKey.version),
            ("user_id", "version", "wrapped", "master_key_id", "created_at"),
        )

    def of(self, user_id: int) -> DataKeyStatements:
        """Returns the user's data keys; none if no private key was stored yet. Raises
        Unavailable.
        """
        return self.unwrapped(user_id, self._of(user_id=user_id))

    def unwrapped(self, user_id: int, rows: Sequence[Row]) -> DataKeyStatements:
        """Returns the user's data keys from their rows (WRAPPED). Raises Unavailable."""
        return DataKeyStatements(user_id, {row[0]: self._unwrapped(user_id, *row) for row in rows})

    def of_or_new(self, user_id: int) -> DataKeyStatements:
        """Returns the user's data keys, or a new one with the statement that stores it.

        Raises Unavailable.
        """
        found = self.of(user_id)
        if found.by_version:
            return found
        master_key, data_key = self._master_keys.current, Secret(os.urandom(_KEY_BYTES))
        values = {
            "user_id": user_id,
            "version": _FIRST_VERSION,
            "wrapped": master_key.wrap(data_key, associated_of(user_id, _FIRST_VERSION)),
            "master_key_id": master_key.id,
            "created_at": self._now(),
        }
        return DataKeyStatements(user_id, {_FIRST_VERSION: data_key}, ((self._insert, values),))

    def stored(self, user_id: int) -> DataKeyStatements:
        """Returns the user's data keys; creates and stores the first one if there is none.

        Raises NotFound (no such user), Unavailable.
        """
        keys = self.of_or_new(user_id)
        if keys.to_store:
            try:
                self._database.run_pipeline(user_id, *keys.to_store)
            except ConstraintBroken:
                raise user_not_found(user_id) from None
            # Another process may have been first: the stored key counts.
            keys = self.of(user_id)
        return keys

    def close(self) -> None:
        """Clears the cache of unwrapped keys."""
        self._at_hand.clear()

    def _unwrapped(self, user_id: int, version: int, wrapped: bytes, master_key_id: str) -> Secret:
        name = (user_id, version, bytes(wrapped))
        secret = self._at_hand.get(name)
        if secret is None:
            try:
                master_key = self._master_keys.of(master_key_id)
                secret = master_key.unwrap(bytes(wrapped), associated_of(user_id, version))
            except WrongMasterKey:
                _log.error(
                    "The data key of user %s cannot be unwrapped; it was wrapped by %s. "
                    "CC_MASTER_KEY or CC_PREVIOUS_MASTER_KEYS must name that key.",
                    user_id,
                    master_key_id,
                )
                raise Unavailable(
                    "The user's keys cannot be decrypted now. Retry later.", retry_after=30
                ) from None
            self._at_hand.put(name, secret)
        return secret


def associated_of(user_id: int, version: int) -> bytes:
    """Returns the associated data that a wrapped data key is bound to."""
    return _DATA_KEY + _IDS.pack(user_id, version)
