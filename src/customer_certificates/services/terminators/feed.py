"""The feed of served certificates with their keys (docs/reference/terminator-feed.md).

It reads the event log in the order of (`xid`, `id`), up to the oldest active transaction. Nothing
can be inserted later before what was read. An event only names the certificate; the feed sends its
current state.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from threading import BoundedSemaphore
from time import monotonic
from typing import Annotated, Any, NamedTuple

import msgspec
from sqlalchemy import select

from ...crypto.secret import Secret
from ...field_docs import doc
from ...gateways.database import Database, int_param
from ...gateways.database.changes import Changes
from ...gateways.database.prepared import Prepared
from ...gateways.database.sql_functions import follows, ids_as_json, ids_of, names_of, size_of
from ...gateways.metrics import Metrics
from ...models import Certificate, Event
from ...pki.names.hostnames import wildcard_of
from ...pki.selection import Candidate, why_not_servable
from ...pki.submission import FINGERPRINT, Trust
from ..certificates.candidates import Candidates, Servable
from ..etags import encode
from ..principal import Principal, TerminatorScope
from .feed_cursors import Cursor, read
from .feed_head import CHANGES, FeedHead, FeedHeads
from .key_release import KeyRelease

_MOST_CHANGES = 100
_MOST_COUNTED = 1000
_MOST_BYTES = 4 * 2**20
# The interval for polling events that another transaction still holds back.
_HELD_SECONDS = 0.05


class FeedEntry(msgspec.Struct, omit_defaults=True):
    """The state of a certificate.

    If it is not `active`, terminators must stop serving it; the entry then has only its ids, and
    the hostnames that it reserves.
    """

    certificate_id: Annotated[int, doc("The certificate.", 1, ge=1)]
    user_id: Annotated[int, doc("The user that owns it.", 1, ge=1)]
    active: Annotated[bool, doc("Whether to serve it.", True)]
    event_id: Annotated[
        int | None, doc("The event that led to this state. Absent in a snapshot.")
    ] = None
    version: Annotated[int | None, doc("The version of the certificate.")] = None
    hostnames: Annotated[
        list[str] | None, doc("Its names and IP addresses that its user owns.")
    ] = None
    not_before: Annotated[
        datetime | None, doc("Start of the time in which all of its chain is valid.")
    ] = None
    not_after: Annotated[
        datetime | None, doc("End of the time in which all of its chain is valid.")
    ] = None
    trust: Annotated[Trust | None, doc("The trust level of the certificate.")] = None
    key_type: Annotated[str | None, doc("The key type: ecdsa, rsa, ed25519, …")] = None
    fingerprint_sha256: Annotated[str | None, FINGERPRINT] = None
    chain_pem: Annotated[str | None, doc("The chain to serve, in PEM.")] = None
    private_key_pem: Annotated[str | None, doc("The private key, in PEM (PKCS#8).")] = None
    reserved_hostnames: Annotated[
        list[str] | None, doc("Its user owns these: serve nobody else's wildcard for them.")
    ] = None


class FeedPage(msgspec.Struct):
    """A page of the feed."""

    cursor: Annotated[str, doc("The value to send as `since` in the next request.")]
    more: Annotated[bool, doc("true: more changes are available at once.")]
    reset: Annotated[
        bool,
        doc(
            "true: a snapshot begins. After its last page (the first without `more`), "
            "stop serving every certificate that was not in it."
        ),
    ]
    changes: Annotated[list[FeedEntry], doc("The changes, in the order in which they happened.")]


class Lag(NamedTuple):
    """How many changes a reader has not read, 1,000 at most, and when the first one happened.

    None if it must read a snapshot.
    """

    behind: int | None
    since: datetime | None


class _Statements:
    """The statements of the feed, across tenants."""

    def __init__(self, database: Database) -> None:
        limit = int_param("limit")
        position = int_param("xid"), int_param("id")

        def changes_after(*columns: Any) -> Prepared:
            return database.prepare(
                select(*columns)
                .where(follows(Event.xid, Event.id, *position), CHANGES)
                .order_by(Event.xid, Event.id)
                .limit(limit),
                tenant=None,
            )

        self.changes = changes_after(Event.xid, Event.id, Event.certificate_id, Event.user_id)
        self.change_times = changes_after(Event.at)
        page = (
            select(Certificate.id, size_of(Certificate.chain_pem))
            .where(
                Certificate.id > int_param("after"),
                Certificate.active,
                Certificate.chain_pem.is_not(None),
            )
            .order_by(Certificate.id)
            .limit(limit)
        )
        self.page = database.prepare(page, tenant=None)
        self.page_of_users = database.prepare(
            page.where(Certificate.user_id.in_(ids_of("user_ids"))), tenant=None
        )
        self.history = database.prepare(
            select(Event.certificate_id, Event.type, Event.hostnames).where(
                Event.user_id.in_(ids_of("user_ids")),
                Event.certificate_id.in_(ids_of("ids")),
                Event.hostnames.is_not(None),
            ),
            tenant=None,
        )


class Feed:
    """Returns the feed to terminators in pages, each limited to its scope."""

    def __init__(
        self,
        database: Database,
        candidates: Candidates,
        key_release: KeyRelease,
        changes: Changes,
        metrics: Metrics,
        now: Callable[[], datetime],
        *,
        waiting: int,
    ) -> None:
        """`waiting` limits the requests that wait for a change; others are answered at once."""
        self._candidates = candidates
        self._key_release = key_release
        self._log_changes = changes
        self._metrics = metrics
        self._now = now
        self._waiting = BoundedSemaphore(waiting)
        self._heads = FeedHeads(database)
        self._statements = _Statements(database)

    def page(self, principal: Principal, since: str, wait: float, limit: int) -> Secret:
        """Returns the encoded FeedPage after `since`, with at most `limit` changes.

        If there are none, waits up to `wait` seconds. A snapshot begins if the cursor is invalid,
        of another database, or so old that events may be missing. Raises Unavailable.
        """
        until = monotonic() + wait
        cursor = read(since)
        while True:
            seen_changes = self._log_changes.count()
            head = self._heads.read()
            if cursor is None or not head.is_complete_from(cursor, self._now()):
                cursor = self._cursor(head, after=0)
                return self._snapshot(principal, cursor, limit, reset=True)
            if cursor.after is not None:
                return self._snapshot(principal, cursor, limit, reset=False)
            page, is_held = self._changes(principal, cursor, head, min(limit, _MOST_CHANGES))
            left = until - monotonic()
            if page.changes or page.more or left <= 0 or not self._waiting.acquire(blocking=False):
                return Secret(encode(page))
            try:
                with self._metrics.feed_waiting.track_inprogress():
                    pause = min(left, _HELD_SECONDS) if is_held else left
                    self._log_changes.wait(seen_changes, pause)
            finally:
                self._waiting.release()
            if self._log_changes.has_ended:
                return Secret(encode(page))
            cursor = read(page.cursor)

    def lags(self, cursors: Sequence[str | None]) -> list[Lag]:
        """Returns how far the readers with these cursors lag."""
        head = self._heads.read()
        return [self._lag(read(text or ""), head) for text in cursors]

    def _lag(self, cursor: Cursor | None, head: FeedHead) -> Lag:
        if (
            cursor is None
            or cursor.after is not None
            or not head.is_complete_from(cursor, self._now())
        ):
            return Lag(None, None)
        rows = self._statements.change_times(xid=cursor.xid, id=cursor.id, limit=_MOST_COUNTED)
        return Lag(len(rows), rows[0][0] if rows else None)

    def _cursor(self, head: FeedHead, after: int | None = None) -> Cursor:
        """Returns the cursor for the current end of the log."""
        last_id = 0 if head.xid else head.id
        return Cursor(head.epoch, int(self._now().timestamp()), head.xid, last_id, after)

    def _snapshot(self, principal: Principal, cursor: Cursor, limit: int, *, reset: bool) -> Secret:
        user_ids = principal.terminator_scope.user_ids
        if user_ids is None:
            rows = self._statements.page(after=cursor.after, limit=limit)
        else:
            users = ids_as_json(user_ids)
            rows = self._statements.page_of_users(after=cursor.after, limit=limit, user_ids=users)
        ids = _within(_MOST_BYTES, rows)
        more = len(ids) < len(rows) or len(rows) == limit
        entries = self._entries(principal, self._candidates.with_keys(ids), {})
        following = cursor._replace(after=ids[-1] if more else None)
        return Secret(encode(FeedPage(str(following), more, reset, entries)))

    def _changes(
        self, principal: Principal, cursor: Cursor, head: FeedHead, limit: int
    ) -> tuple[FeedPage, bool]:
        """Returns the page, and whether another transaction still holds back events."""
        rows = self._statements.changes(xid=cursor.xid, id=cursor.id, limit=limit)
        released = [row for row in rows if (row[0] < head.xid if row[0] else row[1] <= head.id)]
        more = len(released) == limit
        following = self._cursor(head)
        if more:
            following = following._replace(xid=released[-1][0] or 0, id=released[-1][1])
        events = {certificate_id: event_id for _, event_id, certificate_id, _ in released}
        owners = {certificate_id: user_id for _, _, certificate_id, user_id in released}
        servable = self._candidates.with_keys(events) if events else []
        entries = self._entries(principal, servable, events)
        in_page = {entry.certificate_id for entry in entries}
        withdrawn = {
            certificate_id: user_id
            for certificate_id, user_id in owners.items()
            if certificate_id not in in_page and principal.terminator_scope.has_user(user_id)
        }
        entries += [
            FeedEntry(certificate_id, owners[certificate_id], False, events[certificate_id])
            for certificate_id in self._possibly_received(principal.terminator_scope, withdrawn)
        ]
        entries.sort(key=lambda entry: entry.event_id or 0)
        return FeedPage(str(following), more, False, entries), len(released) < len(rows)

    def _entries(
        self, principal: Principal, servable: Iterable[Servable], events: dict[int, int]
    ) -> list[FeedEntry]:
        """Returns the entries to serve, with keys, and those that reserve hostnames."""
        now, scope = self._now(), principal.terminator_scope
        served, others = list[Servable](), list[Candidate]()
        for item in servable:
            candidate, owned = item.candidate, item.candidate.owned_hostnames
            if not (owned and scope.has_certificate(candidate.user_id, owned)):
                continue
            if why_not_servable(candidate, max(now, candidate.served_from or now)) is None:
                served.append(item)
            else:
                others.append(candidate)
        entries = [
            _entry(item, key, scope, events.get(item.candidate.certificate_id))
            for item, key in self._key_release.release(principal, "feed", served)
        ]
        for other in others:
            if names := [name for name in _names(other, scope) if not name.startswith("*.")]:
                event_id = events.get(other.certificate_id)
                entry = FeedEntry(other.certificate_id, other.user_id, False, event_id)
                entry.reserved_hostnames = names
                entries.append(entry)
        return entries

    def _possibly_received(self, scope: TerminatorScope, owners: Mapping[int, int]) -> list[int]:
        """Returns the certificates (with their users) that a terminator may have received.

        The log says which hostnames each had, as long as it reaches back to its upload.
        """
        if scope.hostnames is None or not owners:
            return [*owners]
        ids, user_ids = ids_as_json(owners), ids_as_json({*owners.values()})
        rows = self._statements.history(ids=ids, user_ids=user_ids)
        created = {row[0] for row in rows if row[1] == "certificate.created"}
        in_scope = {row[0] for row in rows if any(scope.names_of(names_of(row[2])))}
        return [number for number in owners if number in in_scope or number not in created]


def _within(most: int, rows: Iterable[tuple[int, int]]) -> list[int]:
    """Returns the ids of the first rows whose total size is `most`; at least one."""
    ids: list[int] = []
    for certificate_id, size in rows:
        if ids and size > most:
            break
        ids.append(certificate_id)
        most -= size
    return ids


def _names(candidate: Candidate, scope: TerminatorScope) -> list[str]:
    """Returns the owned hostnames within `scope`, including wildcards that cover one."""
    wildcards = {wildcard_of(name) for name in scope.hostnames or ()}
    owned = candidate.owned_hostnames
    return sorted(name for name in owned if scope.has_name(name) or name in wildcards)


def _entry(
    servable: Servable, key: Secret, scope: TerminatorScope, event_id: int | None
) -> FeedEntry:
    candidate = servable.candidate
    return FeedEntry(
        candidate.certificate_id,
        candidate.user_id,
        True,
        event_id,
        candidate.version,
        _names(candidate, scope),
        candidate.served_from,
        candidate.served_until,
        candidate.trust,
        candidate.key_type,
        servable.fingerprint_sha256,
        servable.chain_pem,
        key.reveal().decode(),
    )
