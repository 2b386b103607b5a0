"""Encrypts private keys for their table; the only module that decrypts them."""

from hmac import compare_digest
from typing import Any

from sqlalchemy import bindparam, delete, insert, select

from ...crypto.seal import seal
from ...crypto.sealed_format import CannotOpen, KeyContext
from ...crypto.secret import Secret
from ...crypto.unseal import unseal
from ...gateways.database import BoundStatement, Database, Transaction
from ...models import PrivateKey
from .data_keys import DataKeyStatements


class PrivateKeys:
    """Handles private keys within a transaction, with data keys that were read before it."""

    def __init__(self, database: Database) -> None:
        self._insert = database.prepare(insert(PrivateKey), ("certificate_id", "version", "sealed"))
        certificate_id: Any = bindparam("certificate_id")
        version: Any = bindparam("version")
        of_certificate = PrivateKey.certificate_id == certificate_id
        self._sealed = database.prepare(
            select(PrivateKey.sealed).where(of_certificate, PrivateKey.version == version)
        )
        self._remove = database.prepare(
            delete(PrivateKey).where(of_certificate, PrivateKey.version == version)
        )
        self._drop = database.prepare(
            delete(PrivateKey).where(of_certificate, PrivateKey.version <= version)
        )

    def added(
        self, keys: DataKeyStatements, certificate_id: int, version: int, key: Secret
    ) -> BoundStatement:
        """Returns the statement that stores `key`, encrypted, for a certificate's version."""
        sealed = seal(key, keys.newest, KeyContext(keys.user_id, certificate_id, version))
        values = {"certificate_id": certificate_id, "version": version, "sealed": sealed}
        return self._insert, values

    def add(
        self,
        session: Transaction,
        keys: DataKeyStatements,
        certificate_id: int,
        version: int,
        key: Secret,
    ) -> None:
        """Stores `key`, encrypted, for this version of the user's certificate."""
        statement, values = self.added(keys, certificate_id, version, key)
        session.run(statement, **values)

    def open(
        self, session: Transaction, keys: DataKeyStatements, certificate_id: int, version: int
    ) -> Secret:
        """Returns the stored key of a version. Raises CannotOpen if it was tampered with."""
        ((sealed,),) = session.run(self._sealed, certificate_id=certificate_id, version=version)
        return self.opened(sealed, keys, certificate_id, version)

    @staticmethod
    def opened(sealed: bytes, keys: DataKeyStatements, certificate_id: int, version: int) -> Secret:
        """Decrypts the stored key of a version. Raises CannotOpen."""
        context = KeyContext(keys.user_id, certificate_id, version)
        return unseal(bytes(sealed), keys.by_version, context)

    def is_stored(
        self,
        session: Transaction,
        keys: DataKeyStatements,
        certificate_id: int,
        version: int,
        key: Secret,
    ) -> bool:
        """Returns whether `key` is a version's stored key; False if that cannot be decrypted."""
        try:
            stored = self.open(session, keys, certificate_id, version)
        except CannotOpen:
            return False
        return compare_digest(stored.reveal(), key.reveal())

    def remove(self, session: Transaction, certificate_id: int, version: int) -> None:
        """Deletes the key of this version only."""
        session.run(self._remove, certificate_id=certificate_id, version=version)

    def drop(self, session: Transaction, certificate_id: int, version: int) -> None:
        """Deletes the keys of this version and of all earlier ones."""
        session.run(self._drop, certificate_id=certificate_id, version=version)
