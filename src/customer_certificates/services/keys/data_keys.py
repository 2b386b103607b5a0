"""Users' data keys: created with the first private key, wrapped by a master key, and cached.

The database has them wrapped, and unwrapping may query another machine. So call this before a
transaction, never within one.
"""

import os
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import bindparam, select

from ...crypto.sealed_format import DataKey
from ...crypto.secret import Secret
from ...errors import user_not_found
from ...gateways.database import BoundStatement, ConstraintBroken, Database
from ...gateways.database.prepared import Row
from ...gateways.database.sql_functions import insert_new
from ...gateways.master_keys import MasterKeys
from ...models import UserDataKey
from .secret_cache import ExistingIds, SecretCache, existing_ids
from .wrapped_secrets import WrappedSecrets, aad_of

_KEY_BYTES = 32
_FIRST_VERSION = 1
_DATA_KEY = b"cc/data-key/v1"

# The columns of a data key.
WRAPPED = (UserDataKey.version, UserDataKey.wrapped, UserDataKey.master_key_id)


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
        """Raises DataKeyExists if one of `rows`, the result of `to_store`, is missing."""
        if not all(rows):
            raise DataKeyExists


class DataKeyExists(Exception):  # noqa: N818 - nothing is wrong
    """Raised if another request stored the user's first data key in the meantime."""


class DataKeys:
    """Reads users' data keys, and creates them."""

    def __init__(
        self,
        database: Database,
        master_keys: MasterKeys,
        now: Callable[[], datetime],
        new_cache: Callable[[ExistingIds], SecretCache] = SecretCache,
    ) -> None:
        """`new_cache` creates the in-memory cache of unwrapped keys."""
        self._database = database
        self._now = now
        cache = new_cache(existing_ids(database, UserDataKey.user_id))
        self._secrets = WrappedSecrets(master_keys, cache, _DATA_KEY, "data key of user")
        self._of = database.prepare(
            select(*WRAPPED).where(UserDataKey.user_id == bindparam("user_id")), by_key=True
        )
        self._insert = database.prepare(
            insert_new(UserDataKey).returning(UserDataKey.version),
            ("user_id", "version", "wrapped", "master_key_id", "created_at"),
        )

    def of(self, user_id: int) -> DataKeyStatements:
        """Returns the user's data keys; none before the first private key. Raises Unavailable."""
        return self.unwrapped(user_id, self._of(user_id=user_id))

    def unwrapped(self, user_id: int, rows: Sequence[Row]) -> DataKeyStatements:
        """Returns the user's data keys from their rows (WRAPPED). Raises Unavailable."""
        by_version = {row[0]: self._secrets.unwrap(user_id, *row) for row in rows}
        return DataKeyStatements(user_id, by_version)

    def of_or_new(self, user_id: int) -> DataKeyStatements:
        """Returns the user's data keys, or a new one with the statement that stores it.

        Raises Unavailable.
        """
        keys = self.of(user_id)
        if keys.by_version:
            return keys
        data_key = Secret(os.urandom(_KEY_BYTES))
        values = {
            "user_id": user_id,
            "version": _FIRST_VERSION,
            **self._secrets.wrap(data_key, user_id, _FIRST_VERSION),
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
        self._secrets.close()


def data_key_aad(user_id: int, version: int) -> bytes:
    """Returns the additional authenticated data of a wrapped data key."""
    return aad_of(_DATA_KEY, user_id, version)
