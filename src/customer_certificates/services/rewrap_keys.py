"""Rewraps secrets with another master key, while the service runs."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import and_, bindparam, func, select, tuple_, update

from ..gateways.database import EVERYBODY, BoundStatement, Database
from ..gateways.database.prepared import Row
from ..gateways.master_keys import MasterKeys
from ..models import UserDataKey, WebhookSecret
from .audit.hash_chain import NOBODY
from .audit.log import Audit
from .keys import data_keys
from .principal import Principal
from .webhooks import secrets

_BATCH = 100


class Rewrapping:
    """Rewraps users' data keys and webhooks' secrets.

    They stay the same: no private key is encrypted again, and no receiver needs a new secret.
    """

    def __init__(self, database: Database, master_keys: MasterKeys, audit: Audit) -> None:
        self._current = master_keys.current.id
        self._all = (
            _Wrapped(
                database,
                master_keys,
                audit,
                UserDataKey,
                UserDataKey.user_id,
                data_keys.associated_of,
            ),
            _Wrapped(
                database,
                master_keys,
                audit,
                WebhookSecret,
                WebhookSecret.webhook_id,
                secrets.associated_of,
            ),
        )

    def counts(self) -> dict[str, int]:
        """Returns how many of them each master key wraps, the current one first."""
        found: Counter[str] = Counter()
        for wrapped in self._all:
            found.update(wrapped.counts())
        return {self._current: found.pop(self._current, 0), **dict(sorted(found.items()))}

    def unknown(self) -> str | None:
        """Returns a master key that wraps some of them, but is not configured, if any."""
        return next(filter(None, (wrapped.unknown() for wrapped in self._all)), None)

    def run(self, caller: Principal, told: Callable[[int], None]) -> int:
        """Rewraps all of them with the current master key, and returns how many changed.

        Each batch is its own transaction with its audit entry, so this can be killed and repeated.
        `told` is called with the number done after each batch. Raises WrongMasterKey, Unavailable.
        """
        done = 0
        for wrapped in self._all:
            for number in wrapped.exchanged(caller):
                done += number
                told(done)
        return done


class _Wrapped:
    """A table of wrapped secrets: each row has an owner's id and a version."""

    def __init__(
        self,
        database: Database,
        master_keys: MasterKeys,
        audit: Audit,
        table: type[UserDataKey | WebhookSecret],
        owner: Any,
        associated_of: Callable[[int, int], bytes],
    ) -> None:
        self._database = database
        self._master_keys = master_keys
        self._audit = audit
        self._table = table
        self._associated_of = associated_of
        self._counts = database.prepare(
            select(table.master_key_id, func.count()).group_by(table.master_key_id),
            tenant=None,
        )
        self._unknown = database.prepare(
            select(table.master_key_id)
            .where(and_(*(table.master_key_id != one for one in master_keys.ids)))
            .limit(1),
            tenant=None,
        )
        place = (owner, table.version)
        self._others = database.prepare(
            select(*place, table.wrapped, table.master_key_id)
            .where(
                tuple_(*place) > tuple_(bindparam("owner"), bindparam("version")),
                table.master_key_id != bindparam("current"),
            )
            .order_by(*place)
            .limit(_BATCH),
            tenant=None,
        )
        # Does nothing if the row was changed or deleted in the meantime.
        self._exchange = database.prepare(
            update(table)
            .where(
                owner == bindparam("of_owner"),
                table.version == bindparam("of_version"),
                table.wrapped == bindparam("before"),
            )
            .values(wrapped=bindparam("after"), master_key_id=bindparam("current"))
            .returning(table.version)
        )

    def counts(self) -> dict[str, int]:
        return dict(self._counts())

    def unknown(self) -> str | None:
        rows = self._unknown()
        return rows[0][0] if rows else None

    def exchanged(self, caller: Principal) -> Iterator[int]:
        """Rewraps all rows in batches, and yields how many changed."""
        owner, version = 0, 0
        current = self._master_keys.current
        while rows := self._others(owner=owner, version=version, current=current.id):
            yield self._exchange_all(caller, rows)
            owner, version, *_ = rows[-1]

    def _exchange_all(self, caller: Principal, rows: list[Row]) -> int:
        calls: list[BoundStatement] = [(self._exchange, self._rewrapped(row)) for row in rows]
        done = 0

        def recorded(exchanged: list[list[Row]]) -> Sequence[BoundStatement]:
            nonlocal done
            *each, head = exchanged
            done = sum(map(len, each))
            detail = {
                "table": self._table.__tablename__,
                "number": done,
                "first": rows[0][0],
                "last": rows[-1][0],
                "master_key": self._master_keys.current.id,
            }
            return self._audit.entry(head, caller, "keys.rewrap", NOBODY, None, detail=detail)

        self._database.run_two_step_transaction(
            EVERYBODY, [*calls, self._audit.head(NOBODY)], recorded
        )
        return done

    def _rewrapped(self, row: Row) -> dict[str, object]:
        owner, version, wrapped, master_key_id = row
        current, aad = self._master_keys.current, self._associated_of(owner, version)
        secret = self._master_keys.of(master_key_id).unwrap(bytes(wrapped), aad)
        return {
            "of_owner": owner,
            "of_version": version,
            "before": wrapped,
            "after": current.wrap(secret, aad),
            "current": current.id,
        }
