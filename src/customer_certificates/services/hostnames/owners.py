"""Owners of hostnames: list, grant (by operators), release."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from sqlalchemy import Select, select

from ...errors import Conflict, Finding, user_not_found
from ...field_docs import Time, doc
from ...gateways.database import EVERYBODY, Database, int_param, text_param
from ...gateways.database.prepared import Row
from ...gateways.database.sql_functions import as_json, items_of
from ...models import HostnameClaim, User
from ...pki.names.ownership import Proof, covering
from ..audit.log import Audit
from ..principal import Principal
from ..user_lock import lock_user
from .claims import IS_IN_USE
from .ownership import Hostnames


class HostnameView(msgspec.Struct):
    """A hostname, and the user who owns it."""

    hostname: Annotated[str, doc("The hostname.", "www.example.com")]
    user_id: Annotated[int, doc("The owner.", 1, ge=1)]
    proof: Annotated[Proof, doc("How control was proven.", "public_ca")]
    claimed_at: Annotated[Time | None, doc("When the user became the owner. null: not recorded.")]
    proven_at: Annotated[Time | None, doc("When control was proven. null: not proven.")]
    proof_until: Annotated[Time | None, doc("When the proof expires. null: never.")]
    checked_at: Annotated[Time | None, doc("When a challenge was last checked. null: never.")]
    in_use: Annotated[bool, doc("Whether the owner has an active certificate for it.")]
    resolves_to_edge: Annotated[
        bool | None, doc("Whether it resolves to CC_EDGE_TARGETS. null: unknown.")
    ]


class HostnameGrant(msgspec.Struct, forbid_unknown_fields=True):
    """The user to whom a hostname is granted."""

    user_id: Annotated[int, doc("The id of the user.", 1, ge=1, le=2**63 - 1)]


class HostnameOwners:
    """The use cases of ownership that activate no certificate."""

    def __init__(
        self, database: Database, hostnames: Hostnames, audit: Audit, now: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._hostnames = hostnames
        self._audit = audit
        self._now = now
        names = items_of(text_param("hostnames"))
        user_id = int_param("user_id")
        claims = _views().order_by(HostnameClaim.hostname)
        named = claims.where(HostnameClaim.hostname.in_(select(names.c.value)))
        self._named = database.prepare(named, tenant=None)
        page = claims.where(HostnameClaim.hostname > text_param("after")).limit(int_param("limit"))
        self._page = database.prepare(page, tenant=None)
        self._page_of_user = database.prepare(page.where(HostnameClaim.user_id == user_id))
        self._user = database.prepare(select(User.id).where(User.id == user_id))

    def page(
        self, user_id: int | None, after: str, limit: int
    ) -> tuple[list[HostnameView], str | None]:
        """Returns at most `limit` hostnames after `after`, and the `after` of the next page.

        It is None on the last page. With `user_id`, returns only those of the user. Raises
        NotFound.
        """
        if user_id is None:
            rows = self._page(after=after, limit=limit + 1)
        else:
            rows = self._page_of_user(user_id=user_id, after=after, limit=limit + 1)
            if not rows and not self._user(user_id=user_id):
                raise user_not_found(user_id)
        views = _shown(rows[:limit])
        return views, views[-1].hostname if len(rows) > limit else None

    def find(self, hostname: str) -> list[HostnameView]:
        """Returns the owners of `hostname` and of the wildcard that covers it."""
        wildcard = covering(hostname)
        names = [hostname, wildcard] if wildcard else [hostname]
        return _shown(self._named(hostnames=as_json(names)))

    def grant(self, principal: Principal, hostname: str, user_id: int) -> HostnameView:
        """Grants `hostname` to the user, and takes it from another owner.

        Raises NotFound (no such user), Conflict (nobody can own that name).
        """
        path = f"/hostnames/{hostname}"
        with self._audit.begin(principal, "hostname.grant", user_id, path) as (session, entry):
            lock_user(session, user_id)
            outcome = self._hostnames.claim_proven(
                session, user_id, hostname, "operator", self._now()
            )
            entry.add({"hostname": hostname, "result": outcome.result})
            # Within the transaction, because the hostname may be released afterwards.
            (view,) = _shown(session.run(self._named, hostnames=as_json([hostname])))
            return view

    def release_any(self, principal: Principal, hostname: str) -> None:
        """Releases `hostname` of any user, even if it is in use. Raises NotFound."""
        with self._database.begin(EVERYBODY) as session:
            owner = self._hostnames.release(session, None, hostname, "operator")
            path, detail = f"/users/{owner}/hostnames/{hostname}", {"hostname": hostname}
            self._audit.record(session, principal, "hostname.release", owner, path, detail=detail)

    def release_own(self, principal: Principal, user_id: int, hostname: str) -> None:
        """Releases a hostname of the user.

        Raises NotFound, or Conflict if an active certificate uses it.
        """
        path = f"/users/{user_id}/hostnames/{hostname}"
        with self._audit.begin(principal, "hostname.release", user_id, path) as (session, entry):
            lock_user(session, user_id)
            is_claim = HostnameClaim.user_id == user_id, HostnameClaim.hostname == hostname
            if session.scalar(select(HostnameClaim.hostname).where(*is_claim, IS_IN_USE)):
                raise _in_use(hostname)
            self._hostnames.release(session, user_id, hostname, "user")
            entry.add({"hostname": hostname})


def _views() -> Select[*tuple[Any, ...]]:
    """Selects a row for each claim, in the form that _shown reads."""
    in_use = IS_IN_USE.label("in_use")
    names = HostnameView.__struct_fields__
    return select(*(getattr(HostnameClaim, name, in_use) for name in names))


def _shown(rows: Sequence[Row]) -> list[HostnameView]:
    return [HostnameView(*row) for row in rows]


def _in_use(hostname: str) -> Conflict:
    detail = f"{hostname} is a hostname of an active certificate of the user."
    hint = "Deactivate or replace the certificate first."
    return Conflict(
        "An active certificate uses this hostname; nothing was changed.",
        errors=[Finding("hostname_in_use", "hostname", detail, hint)],
    )
