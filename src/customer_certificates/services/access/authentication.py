"""Authenticates requests: a token or a password in, a Principal out."""

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import bindparam, case, select

from ...crypto import token_format
from ...errors import TooManyRequests, Unauthenticated, Unavailable
from ...gateways.database import EVERYBODY, Database, int_param
from ...models import Token, User
from ..audit.hash_chain import NOBODY
from ..audit.log import Audit, Outcome
from ..principal import Principal, TerminatorScope, UserSnapshot
from ..users.users import Email, Password, SignedIn, Users
from .login_throttle import LoginThrottle
from .permissions import SCOPES
from .token_usage import TokenUsage

_NO_DIGEST = bytes(32)
_TOKEN_COLUMNS = ("secret_sha256", "kind", "user_id", "scopes", "expires_at", "revoked_at")
_TOKEN_COLUMNS += ("last_used_at", "user_ids", "hostnames")


class Authentication:
    """Reads a token's row at each request, so a revocation takes effect everywhere at once."""

    def __init__(
        self,
        database: Database,
        users: Users,
        throttle: LoginThrottle,
        token_usage: TokenUsage,
        audit: Audit,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._users = users
        self._throttle = throttle
        self._token_usage = token_usage
        self._audit = audit
        self._now = now
        self._token = database.prepare(_token_and_user(), tenant=None, by_key=True)

    def token(self, text: str, target_user_id: int | None, request_id: str, peer: str) -> Principal:
        """Returns the principal of the token `text`.

        One statement reads the rows of the token and of the user `target_user_id`, whom the request
        concerns, unless the token is another user's. Raises Unauthenticated.
        """
        parts = token_format.read(text)
        if parts is None:
            raise Unauthenticated("Malformed token. Check that you copied all of it.")
        rows = self._token(id=parts.id, target_user_id=target_user_id)
        if not rows:
            token_format.matches(_NO_DIGEST, parts.secret)
            raise _unknown()
        secret_sha256, kind, user_id, scopes, expires_at, revoked_at, last_used_at = rows[0][:7]
        user_ids, hostnames, *user = rows[0][7:]
        if not token_format.matches(bytes(secret_sha256), parts.secret) or kind != parts.kind:
            raise _unknown()
        now = self._now()
        if revoked_at is not None:
            raise Unauthenticated(f"This token was revoked on {revoked_at:%Y-%m-%d}.")
        if expires_at <= now:
            raise Unauthenticated(
                f"This token expired on {expires_at:%Y-%m-%d}. Create a new one with POST /tokens."
            )
        self._token_usage.record(parts.id, last_used_at, now)
        return Principal(
            kind,
            request_id,
            peer,
            parts.id,
            user_id,
            frozenset(scopes.split()),
            target_user=UserSnapshot(*user) if user[0] is not None else None,
            terminator_scope=_terminator_scope(user_ids, hostnames),
        )

    def password(self, email: str, password: str, request_id: str, peer: str) -> Principal:
        """Returns the user with this email address and password.

        Takes the same time for unknown and known users. Raises Unauthenticated, TooManyRequests,
        Unavailable.
        """
        attempt = self._throttle.begin(email, peer)
        try:
            signed_in = self._user(email, password)
        except (TooManyRequests, Unavailable):
            self._throttle.undo(attempt)
            raise
        if signed_in is None:
            nobody = Principal("anybody", request_id, peer)
            self._record(nobody, NOBODY, "refused")
            raise Unauthenticated("Wrong email address or password.")
        self._throttle.undo(attempt)
        principal = Principal(
            "user",
            request_id,
            peer,
            user_id=signed_in.user_id,
            scopes=frozenset(SCOPES),
            password_hash=signed_in.password_hash,
        )
        self._record(principal, signed_in.user_id, "done")
        return principal

    def _record(self, principal: Principal, chain: int, outcome: Outcome) -> None:
        with self._database.begin(chain or EVERYBODY) as session:
            self._audit.record(session, principal, "user.sign_in", chain, None, outcome=outcome)

    def _user(self, email: str, password: str) -> SignedIn | None:
        try:
            msgspec.convert((email, password), tuple[Email, Password])
        except msgspec.ValidationError:
            # Nobody can have registered with such values.
            return None
        return self._users.sign_in(email, password)


def _token_and_user() -> Any:
    """Selects the row of a token, and of the user that the request concerns.

    The user is not read if the token is another user's.
    """
    target = int_param("target_user_id")
    admitted = case((Token.user_id.is_(None), target), (Token.user_id == target, target))
    return (
        select(
            *(getattr(Token, name) for name in _TOKEN_COLUMNS),
            *(getattr(User, name) for name in UserSnapshot._fields),
        )
        .outerjoin_from(Token, User, User.id == admitted)
        .where(Token.id == bindparam("id"))
    )


@lru_cache(256)
def _terminator_scope(user_ids: str | None, hostnames: str | None) -> TerminatorScope:
    """Returns the scope of two columns with JSON."""
    return TerminatorScope(
        None if user_ids is None else msgspec.json.decode(user_ids, type=frozenset[int]),
        None if hostnames is None else msgspec.json.decode(hostnames, type=frozenset[str]),
    )


def _unknown() -> Unauthenticated:
    return Unauthenticated("Unknown token. Check that it was created by this service.")
