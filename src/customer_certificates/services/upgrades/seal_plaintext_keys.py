"""Encrypts, once, keys that revision 0002 stored as plaintext."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial

from sqlalchemy import bindparam, delete, select

from ...crypto.secret import Secret
from ...gateways.database import EVERYBODY, BoundStatement, ConstraintBroken, Database
from ...gateways.database.prepared import Row
from ...gateways.database.sql_functions import insert_new
from ...models import Certificate, PlaintextKey, ServiceState
from ..audit.hash_chain import NOBODY
from ..audit.log import Audit
from ..keys.data_keys import DataKeys, DataKeyStatements
from ..keys.private_keys import PrivateKeys
from ..principal import Principal

_BATCH = 100
_REMAINS = "keys_to_be_overwritten"


class PlaintextKeys:
    """Encrypts the keys that the migration left. Can be interrupted and repeated."""

    def __init__(
        self,
        database: Database,
        data_keys: DataKeys,
        private_keys: PrivateKeys,
        audit: Audit,
        caller: Principal,
    ) -> None:
        """`caller` is the principal that runs the command."""
        self._database = database
        self._data_keys = data_keys
        self._private_keys = private_keys
        self._audit = audit
        self._caller = caller
        row = (PlaintextKey.certificate_id, PlaintextKey.version)
        self._next = database.prepare(
            select(*row, Certificate.user_id, PlaintextKey.private_key)
            .join_from(PlaintextKey, Certificate, Certificate.id == PlaintextKey.certificate_id)
            .order_by(*row)
            .limit(_BATCH),
            tenant=None,
        )
        self._forget = database.prepare(
            delete(PlaintextKey).where(
                PlaintextKey.certificate_id == bindparam("certificate_id"),
                PlaintextKey.version == bindparam("version"),
            )
        )

    @staticmethod
    def are_there(database: Database) -> bool:
        """Returns whether any key is not encrypted."""
        return bool(database.prepare(select(PlaintextKey.version).limit(1), tenant=None)())

    def run(self) -> int:
        """Encrypts all of them, and returns their number."""
        number = 0
        while rows := self._next():
            calls = [
                call
                for certificate_id, version, user_id, key in rows
                for call in self.replaced(
                    self._data_keys.stored(user_id), certificate_id, version, Secret(bytes(key))
                )
            ]
            # If another process was first, or a certificate was deleted, the next check finds out.
            with suppress(ConstraintBroken):
                self._database.run_two_step_transaction(
                    EVERYBODY, [*calls, self._audit.head(NOBODY)], partial(self._recorded, rows)
                )
                number += len(rows)
        return number

    def _recorded(self, sealed: list[Row], done: list[list[Row]]) -> Sequence[BoundStatement]:
        detail = {
            "number": len(sealed),
            "first_certificate": sealed[0][0],
            "last_certificate": sealed[-1][0],
        }
        return self._audit.entry(done[-1], self._caller, "keys.seal", NOBODY, None, detail=detail)

    def replaced(
        self, keys: DataKeyStatements, certificate_id: int, version: int, key: Secret
    ) -> tuple[BoundStatement, BoundStatement]:
        """Returns the statements that replace the plaintext key with the encrypted `key`."""
        forget = (self._forget, {"certificate_id": certificate_id, "version": version})
        return self._private_keys.added(keys, certificate_id, version, key), forget


class PendingErase:
    """Remembers that the database's files may still contain plaintext of encrypted keys.

    The record is kept from before the first encryption until the files were rewritten, even across
    a crash.
    """

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        of_remains = ServiceState.name == bindparam("of_name")
        self._find = database.prepare(select(ServiceState.since).where(of_remains), tenant=None)
        self._remember = database.prepare(
            insert_new(ServiceState).returning(ServiceState.name), ("name", "since")
        )
        self._forget = database.prepare(delete(ServiceState).where(of_remains))

    def expect(self) -> None:
        """Records it. Call it before any key is encrypted."""
        if PlaintextKeys.are_there(self._database):
            values = {"name": _REMAINS, "since": self._now()}
            self._database.run_pipeline(EVERYBODY, (self._remember, values))

    def are_there(self) -> bool:
        """Returns whether there may be plaintext in the files."""
        return bool(self._find(of_name=_REMAINS))

    def are_gone(self) -> None:
        """Records that the files were rewritten."""
        self._database.run_pipeline(EVERYBODY, (self._forget, {"of_name": _REMAINS}))
