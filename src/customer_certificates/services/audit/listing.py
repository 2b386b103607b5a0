"""Lists audit entries."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from sqlalchemy import bindparam, literal, or_, select

from ...errors import user_not_found
from ...gateways.database import Database, int_param, text_param
from ...gateways.database.prepared import Row
from ...models import AuditEntry, AuditHead, User
from ..pages import Page, page_of
from .hash_chain import NOBODY
from .views import SHOWN, AuditView, audit_view

# The most entries among which `search` searches for one page.
_MOST_SEARCHED = 10_000

ActionKind = Literal[
    "certificate",
    "challenge",
    "console",
    "hostname",
    "key",
    "terminator",
    "token",
    "user",
    "webhook",
]
Outcome = Literal["done", "unchanged", "refused"]


class AuditFilter(NamedTuple):
    """Selects entries. `kind` is the part of the action before the dot."""

    kind: ActionKind | None = None
    outcome: Outcome | None = None


class Found(NamedTuple):
    """Entries, the newest one first. `next_before` is for older ones (None: there are none)."""

    items: list[AuditView]
    next_before: int | None


class AuditPages:
    """Reads the entries of a chain."""

    def __init__(self, database: Database) -> None:
        shown = (
            select(*(getattr(AuditEntry, name) for name in SHOWN))
            .where(AuditEntry.chain == bindparam("chain"))
            .limit(int_param("limit"))
        )
        self._page = database.prepare(
            shown.where(AuditEntry.seq > bindparam("after")).order_by(AuditEntry.seq),
            tenant="chain",
        )
        self._newest = database.prepare(
            shown.where(AuditEntry.seq < bindparam("before")).order_by(AuditEntry.seq.desc()),
            tenant="chain",
        )
        seq = AuditEntry.seq
        self._found = database.prepare(
            shown.where(
                seq < int_param("before"),
                seq >= int_param("least"),
                AuditEntry.action.like(text_param("action")),
                AuditEntry.outcome.like(text_param("outcome")),
            ).order_by(seq.desc()),
            tenant="chain",
        )
        self._head = database.prepare(
            select(AuditHead.seq).where(AuditHead.chain == bindparam("chain")), tenant="chain"
        )
        chain = int_param("chain")
        self._is_known = database.prepare(
            select(literal(True)).where(
                or_(
                    select(AuditHead.chain).where(AuditHead.chain == chain).exists(),
                    select(User.id).where(User.id == chain).exists(),
                )
            ),
            tenant="chain",
        )

    def page(self, chain: int, after: int, limit: int) -> Page[AuditView]:
        """Returns a page of entries by `seq`, the oldest one first.

        A user's entries remain after the user is deleted. Raises NotFound if the user never
        existed.
        """
        return self._shown(chain, self._page(chain=chain, after=after, limit=limit + 1), limit)

    def newest(self, chain: int, before: int, limit: int) -> Page[AuditView]:
        """Returns a page of entries with smaller `seq` than `before`, newest first.

        Its `next_after` is the `before` of the next page. Raises NotFound, as `page` does.
        """
        return self._shown(chain, self._newest(chain=chain, before=before, limit=limit + 1), limit)

    def search(self, chain: int, criteria: AuditFilter, before: int | None, limit: int) -> Found:
        """Returns the newest entries that match, only those before `before`, if given.

        Searches 10,000 entries at most: the page may be empty, although older entries match. Raises
        NotFound if the user never existed.
        """
        rows = self._head(chain=chain)
        self._require_known(chain, rows)
        after_last = rows[0][0] + 1 if rows else 1
        before = min(before or after_last, after_last)
        least = max(before - _MOST_SEARCHED, 1)
        entries = self._found(
            chain=chain,
            before=before,
            least=least,
            action=f"{criteria.kind}.%" if criteria.kind else "%",
            outcome=criteria.outcome or "%",
            limit=limit + 1,
        )
        items = [audit_view(row) for row in entries[:limit]]
        if len(entries) > limit:
            return Found(items, items[-1].seq)
        return Found(items, least if least > 1 else None)

    def _shown(self, chain: int, rows: Sequence[Row], limit: int) -> Page[AuditView]:
        self._require_known(chain, rows)
        return page_of(rows, limit, audit_view, "seq")

    def _require_known(self, chain: int, rows: Sequence[Row]) -> None:
        if not rows and chain != NOBODY and not self._is_known(chain=chain):
            raise user_not_found(chain)
