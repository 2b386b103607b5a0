"""Lists audit entries."""

from sqlalchemy import bindparam, literal, or_, select

from ...errors import user_not_found
from ...gateways.database import Database, int_param
from ...models import AuditEntry, AuditHead, User
from ..pages import Page, page_of
from .hash_chain import NOBODY
from .views import SHOWN, AuditView, audit_view


class AuditPages:
    """Reads the entries of a chain, oldest first."""

    def __init__(self, database: Database) -> None:
        self._page = database.prepare(
            select(*(getattr(AuditEntry, name) for name in SHOWN))
            .where(AuditEntry.chain == bindparam("chain"), AuditEntry.seq > bindparam("after"))
            .order_by(AuditEntry.seq)
            .limit(int_param("limit")),
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
        rows = self._page(chain=chain, after=after, limit=limit + 1)
        if not rows and chain != NOBODY and not self._is_known(chain=chain):
            raise user_not_found(chain)
        return page_of(rows, limit, audit_view, "seq")
