"""Rewraps secrets with another master key, while the service runs."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import bindparam, func, select, tuple_, update

from ..gateways.database import EVERYBODY, Database
from ..gateways.database.prepared import Row
from ..gateways.master_keys import MasterKeys
from ..models import UserDataKey, WebhookSecret
from .audit.hash_chain import NOBODY
from .audit.log import Audit
from .keys.data_keys import data_key_aad
from .principal import Principal
from .webhooks.secrets import webhook_secret_aad

_BATCH = 100
_Table = type[UserDataKey | WebhookSecret]
_Aad = Callable[[int, int], bytes]


class Rewrapping:
    """Rewraps users' data keys and webhooks' secrets.

    They stay the same: no private key is encrypted again, and no receiver needs a new secret.
    """

    def __init__(self, database: Database, master_keys: MasterKeys, audit: Audit) -> None:
        self._current = master_keys.current.id
        kinds: list[tuple[_Table, Any, _Aad]] = [
            (UserDataKey, UserDataKey.user_id, data_key_aad),
            (WebhookSecret, WebhookSecret.webhook_id, webhook_secret_aad),
        ]
        self._all = [_Wrapped(database, master_keys, audit, *kind) for kind in kinds]

    def counts(self) -> dict[str, int]:
        """Returns how many of them each master key wraps, the current one first."""
        counts: Counter[str] = Counter()
        for wrapped in self._all:
            counts.update(wrapped.counts())
        return {self._current: counts.pop(self._current, 0), **dict(sorted(counts.items()))}

    def unknown(self) -> str | None:
        """Returns a master key that wraps some of them, but is not configured, if any."""
        return next(filter(None, (wrapped.unknown() for wrapped in self._all)), None)

    def run(self, principal: Principal, progress: Callable[[int], None]) -> int:
        """Rewraps all of them with the current master key, and returns how many changed.

        Each batch is its own transaction with its audit entry, so this can be killed and repeated.
        `progress` is called with the number done after each batch. Raises WrongMasterKey,
        Unavailable.
        """
        done = 0
        for wrapped in self._all:
            for number in wrapped.rewrap(principal):
                done += number
                progress(done)
        return done


class _Wrapped:
    """A table of wrapped secrets: each row has an owner's id and a version."""

    def __init__(
        self,
        database: Database,
        master_keys: MasterKeys,
        audit: Audit,
        table: _Table,
        owner: Any,
        aad_of: _Aad,
    ) -> None:
        self._database = database
        self._master_keys = master_keys
        self._audit = audit
        self._table = table
        self._aad_of = aad_of
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
        self._replace = database.prepare(
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
        key_id = self._table.master_key_id
        with self._database.begin(EVERYBODY) as session:
            return dict(session.execute(select(key_id, func.count()).group_by(key_id)).all())

    def unknown(self) -> str | None:
        key_id = self._table.master_key_id
        with self._database.begin(EVERYBODY) as session:
            return session.scalar(
                select(key_id).where(key_id.not_in(self._master_keys.ids)).limit(1)
            )

    def rewrap(self, principal: Principal) -> Iterator[int]:
        """Rewraps all rows in batches, and yields how many changed."""
        owner, version = 0, 0
        current = self._master_keys.current
        while rows := self._others(owner=owner, version=version, current=current.id):
            yield self._rewrap_batch(principal, rows)
            owner, version, *_ = rows[-1]

    def _rewrap_batch(self, principal: Principal, rows: list[Row]) -> int:
        statements = [(self._replace, self._rewrapped(row)) for row in rows]
        with self._audit.begin(principal, "keys.rewrap", NOBODY, None) as (session, entry):
            number = sum(map(len, session.run_pipeline(*statements)))
            entry.add(
                {
                    "table": self._table.__tablename__,
                    "number": number,
                    "first": rows[0][0],
                    "last": rows[-1][0],
                    "master_key": self._master_keys.current.id,
                }
            )
        return number

    def _rewrapped(self, row: Row) -> dict[str, object]:
        owner, version, wrapped, master_key_id = row
        current, aad = self._master_keys.current, self._aad_of(owner, version)
        secret = self._master_keys.of(master_key_id).unwrap(bytes(wrapped), aad)
        return {
            "of_owner": owner,
            "of_version": version,
            "before": wrapped,
            "after": current.wrap(secret, aad),
            "current": current.id,
        }
