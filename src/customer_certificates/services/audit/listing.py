"""Lists audit entries."""

from collections.abc import Sequence

from sqlalchemy import bindparam, literal, or_, select

from ...errors import user_not_found
from ...gateways.database import Database, int_param
from ...gateways.database.prepared import Row
from ...models import AuditEntry, AuditHead, User
from ..pages import Page, page_of
from .hash_chain import NOBODY
from .views import SHOWN, AuditView, audit_view


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
        """Returns a page of entries by `seq`.

        A user's entries remain after the user is deleted. Raises NotFound if the user never
        existed.
        """
        return self._shown(chain, self._page(chain=chain, after=after, limit=limit + 1), limit)

    def newest(self, chain: int, before: int, limit: int) -> Page[AuditView]:
        """Returns a page of entries with smaller `seq` than `before`, newest first.

        Its `next_after` is the `before` of the next page. Raises NotFound, as `page` does.
        """
        return self._shown(chain, self._newest(chain=chain, before=before, limit=limit + 1), limit)

    def _shown(self, chain: int, rows: Sequence[Row], limit: int) -> Page[AuditView]:
        if not rows and chain != NOBODY and not self._is_known(chain=chain):
            raise user_not_found(chain)
        return page_of(rows, limit, audit_view, "seq")
