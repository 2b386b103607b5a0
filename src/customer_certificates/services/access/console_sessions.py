"""Sessions of the console: begin, read, end."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, bindparam, delete, insert, select, update

from ...crypto.token_format import digest, new_secret
from ...errors import Forbidden, Unavailable
from ...gateways.database import EVERYBODY, Database, Transaction, time_param
from ...models import ConsoleSession, Token, User
from ..audit.hash_chain import NOBODY
from ..audit.log import Audit
from ..batched_deletes import removal_of_oldest, remove_in_batches
from ..principal import Principal
from .authentication import Authentication
from .current_password import require_same_password
from .permissions import SCOPES

IDLE_LIMIT = timedelta(minutes=30)
ABSOLUTE_LIMIT = timedelta(hours=12)
# A sign-in ends the oldest sessions of the user or the token beyond these.
MOST_SESSIONS = 50
# Each request would write otherwise.
_PRECISION = timedelta(minutes=1)


class Session(NamedTuple):
    """A session that is valid. `name` is the user's; None: an operator.

    `return_url` is the page of the portal whose link began the session.
    """

    principal: Principal
    name: str | None
    return_url: str | None


class ConsoleSessions:
    """The use cases of sessions.

    The secret of its cookie names the row of a session. It ends `IDLE_LIMIT` after the last
    request, `ABSOLUTE_LIMIT` after the sign-in, with the operator's token, with the user, and with
    a change of the user's password.
    """

    def __init__(
        self,
        database: Database,
        authentication: Authentication,
        audit: Audit,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._authentication = authentication
        self._audit = audit
        self._now = now
        self._find = database.prepare(_valid_session(), tenant=None, by_key=True)
        self._touch = database.prepare(
            update(ConsoleSession)
            .where(
                ConsoleSession.secret_sha256 == bindparam("of_secret"),
                ConsoleSession.last_seen_at <= time_param("before"),
            )
            .values(last_seen_at=time_param("now"))
            .returning(ConsoleSession.secret_sha256)
        )
        self._remove = database.prepare(
            removal_of_oldest(
                ConsoleSession.secret_sha256,
                (ConsoleSession.expires_at <= time_param("now"))
                | (ConsoleSession.last_seen_at <= time_param("idle_since")),
                ConsoleSession.expires_at,
            )
        )

    def sign_in_user(
        self, email: str, password: str, replaced: str, request_id: str, peer: str
    ) -> str:
        """Begins a session of the user, and returns its secret.

        The session with the secret `replaced`, if there is one, ends. Raises Unauthenticated,
        TooManyRequests, Unavailable, or Conflict if the password was changed in the meantime.
        """
        principal = self._authentication.password(email, password, request_id, peer)
        return self._begin(principal, replaced, by_password=True)

    def sign_in_operator(self, token: str, replaced: str, request_id: str, peer: str) -> str:
        """Begins a session of the operator with this token, and returns its secret.

        The session with the secret `replaced`, if there is one, ends. Raises Unauthenticated,
        Forbidden (a token of another kind), Unavailable.
        """
        principal = self._authentication.token(token, None, request_id, peer)
        if principal.kind != "operator":
            raise Forbidden(
                f"This is a {principal.kind} token. Sign in with an operator token, or with an "
                "email address and a password."
            )
        return self._begin(principal, replaced, by_password=False)

    def _begin(self, principal: Principal, replaced: str, *, by_password: bool) -> str:
        chain = principal.user_id or NOBODY
        write = self._audit.begin(principal, "console.sign_in", chain, None, tenant=EVERYBODY)
        with write as (session, entry):
            if by_password:
                require_same_password(session, principal)
            secret = self.add(session, principal, replaced, by_password=by_password)
            entry.add({"by": "password" if by_password else "token"})
        return secret

    def add(
        self,
        session: Transaction,
        principal: Principal,
        replaced: str,
        *,
        by_password: bool,
        return_url: str | None = None,
    ) -> str:
        """Adds a session to a transaction of all tenants, and returns its secret.

        Ends the session with the secret `replaced`, if there is one, and the oldest sessions
        beyond `MOST_SESSIONS`.
        """
        secret, now = new_secret(), self._now()
        session.execute(
            delete(ConsoleSession).where(ConsoleSession.secret_sha256 == digest(replaced))
        )
        session.execute(_removal_of_excess(principal))
        session.execute(
            insert(ConsoleSession).values(
                secret_sha256=digest(secret),
                user_id=principal.user_id,
                token_id=principal.token_id,
                by_password=by_password,
                return_url=return_url,
                created_at=now,
                last_seen_at=now,
                expires_at=now + ABSOLUTE_LIMIT,
            )
        )
        return secret

    def find(self, secret: str, request_id: str, peer: str) -> Session | None:
        """Returns the session with this secret, if it is valid, and records its use.

        If the database takes no writes, the use is not recorded.
        """
        now, key = self._now(), digest(secret)
        rows = self._find(of_secret=key, now=now, idle_since=now - IDLE_LIMIT)
        if not rows:
            return None
        user_id, token_id, by_password, return_url, last_seen_at, name, password_hash = rows[0]
        if now - last_seen_at >= _PRECISION:
            # A page that only reads must not fail because of this write.
            with suppress(Unavailable), self._database.begin(EVERYBODY) as session:
                session.run(self._touch, of_secret=key, now=now, before=now - _PRECISION)
        principal = Principal(
            "operator" if user_id is None else "user",
            request_id,
            peer,
            token_id,
            user_id,
            frozenset(() if user_id is None else SCOPES),
            password_hash=password_hash if by_password else None,
        )
        return Session(principal, name, return_url)

    def end(self, principal: Principal, secret: str) -> None:
        """Ends the session with this secret."""
        self._end(principal, ConsoleSession.secret_sha256 == digest(secret))

    def end_all(self, principal: Principal) -> None:
        """Ends every session of the principal, a user or an operator's token."""
        self._end(principal, _is_of(principal))

    def purge(self) -> int:
        """Deletes expired and idle sessions, and returns their number."""
        now = self._now()
        return remove_in_batches(self._database, self._remove, now=now, idle_since=now - IDLE_LIMIT)

    def _end(self, principal: Principal, condition: ColumnElement[bool]) -> None:
        chain = principal.user_id or NOBODY
        write = self._audit.begin(principal, "console.sign_out", chain, None, tenant=EVERYBODY)
        with write as (session, entry):
            ended = session.execute(
                delete(ConsoleSession).where(condition).returning(ConsoleSession.secret_sha256)
            )
            number = len(ended.all())
            entry.add({"sessions": number}, changed=number > 0)


def _is_of(principal: Principal) -> ColumnElement[bool]:
    """Returns whether a session is of the principal, a user or an operator's token."""
    if principal.user_id is None:
        return ConsoleSession.token_id == principal.token_id
    return ConsoleSession.user_id == principal.user_id


def _removal_of_excess(principal: Principal) -> Any:
    """Deletes the oldest sessions of the principal, so that another one may be added."""
    oldest = (
        select(ConsoleSession.secret_sha256)
        .where(_is_of(principal))
        .order_by(ConsoleSession.created_at.desc(), ConsoleSession.secret_sha256)
        .offset(MOST_SESSIONS - 1)
    )
    return delete(ConsoleSession).where(ConsoleSession.secret_sha256.in_(oldest))


def _valid_session() -> Any:
    """Selects a session that has not ended."""
    now: Any = time_param("now")
    return (
        select(
            ConsoleSession.user_id,
            ConsoleSession.token_id,
            ConsoleSession.by_password,
            ConsoleSession.return_url,
            ConsoleSession.last_seen_at,
            User.name,
            User.password_hash,
        )
        .outerjoin_from(ConsoleSession, User, User.id == ConsoleSession.user_id)
        .outerjoin(Token, Token.id == ConsoleSession.token_id)
        .where(
            ConsoleSession.secret_sha256 == bindparam("of_secret"),
            ConsoleSession.expires_at > now,
            ConsoleSession.last_seen_at > time_param("idle_since"),
            ConsoleSession.token_id.is_(None) | Token.is_valid(now),
        )
    )
