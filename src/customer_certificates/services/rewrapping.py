"""Data keys are taken from one master key to another, while requests are served."""

from collections.abc import Callable, Sequence

from sqlalchemy import and_, bindparam, func, select, tuple_, update

from ..gateways.database import EVERYBODY, Call, Database
from ..gateways.master_keys import MasterKeys
from ..gateways.prepared import Row
from ..models import UserKey
from .audit import Audit
from .audit_chain import NOBODY
from .callers import Caller
from .data_keys import associated_of

_BATCH = 100


class Rewrapping:
    """Data keys stay the same, so that nothing is sealed anew; only what wraps them changes."""

    def __init__(self, database: Database, master_keys: MasterKeys, audit: Audit) -> None:
        self._database = database
        self._master_keys = master_keys
        self._audit = audit
        self._counts = database.prepare(
            select(UserKey.master_key_id, func.count()).group_by(UserKey.master_key_id),
            tenant=None,
        )
        self._unknown = database.prepare(
            select(UserKey.master_key_id)
            .where(and_(*(UserKey.master_key_id != one for one in master_keys.ids)))
            .limit(1),
            tenant=None,
        )
        place = (UserKey.user_id, UserKey.version)
        self._others = database.prepare(
            select(*place, UserKey.wrapped, UserKey.master_key_id)
            .where(
                tuple_(*place) > tuple_(bindparam("user_id"), bindparam("version")),
                UserKey.master_key_id != bindparam("current"),
            )
            .order_by(*place)
            .limit(_BATCH),
            tenant=None,
        )
        # Where the row is another one by now, or has gone, nothing happens.
        self._exchange = database.prepare(
            update(UserKey)
            .where(
                UserKey.user_id == bindparam("of_user"),
                UserKey.version == bindparam("of_version"),
                UserKey.wrapped == bindparam("before"),
            )
            .values(wrapped=bindparam("after"), master_key_id=bindparam("current"))
            .returning(UserKey.version)
        )

    def counts(self) -> dict[str, int]:
        """How many data keys each master key wraps, the current one first."""
        current = self._master_keys.current.id
        found: dict[str, int] = dict(self._counts())
        return {current: found.pop(current, 0), **dict(sorted(found.items()))}

    def unknown(self) -> str | None:
        """A master key that wraps data keys and is not among those given, if there is one."""
        rows = self._unknown()
        return rows[0][0] if rows else None

    def run(self, caller: Caller, told: Callable[[int], None]) -> int:
        """Has the current master key wrap all data keys; gives how many it did not wrap before.

        Each batch is a transaction of its own, with its entry in the audit, so it may be killed and
        run again. `told` is called with the number done after each. Raises WrongMasterKey,
        Unavailable.
        """
        done, user_id, version = 0, 0, 0
        current = self._master_keys.current
        while rows := self._others(user_id=user_id, version=version, current=current.id):
            done += self._exchange_all(caller, rows)
            user_id, version, *_ = rows[-1]
            told(done)
        return done

    def _exchange_all(self, caller: Caller, rows: list[Row]) -> int:
        calls: list[Call] = [(self._exchange, self._rewrapped(row)) for row in rows]
        done = 0

        def recorded(exchanged: list[list[Row]]) -> Sequence[Call]:
            nonlocal done
            *each, head = exchanged
            done = sum(map(len, each))
            detail = {
                "number": done,
                "first_user": rows[0][0],
                "last_user": rows[-1][0],
                "master_key": self._master_keys.current.id,
            }
            return self._audit.entry(head, caller, "keys.rewrap", NOBODY, None, detail=detail)

        self._database.run_in_two_trips(EVERYBODY, [*calls, self._audit.head(NOBODY)], recorded)
        return done

    def _rewrapped(self, row: Row) -> dict[str, object]:
        user_id, version, wrapped, master_key_id = row
        current, associated = self._master_keys.current, associated_of(user_id, version)
        data_key = self._master_keys.of(master_key_id).unwrap(bytes(wrapped), associated)
        return {
            "of_user": user_id,
            "of_version": version,
            "before": wrapped,
            "after": current.wrap(data_key, associated),
            "current": current.id,
        }
