"""Tokens, made behind the service's back: each is one insert, and no password is hashed."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from customer_certificates.crypto import token_format
from customer_certificates.crypto.token_format import TokenKind
from customer_certificates.models import ConsoleSession, Token
from customer_certificates.services.access.permissions import SCOPES

DAY = timedelta(days=1)


class Made(NamedTuple):
    """A token's id, and its text."""

    id: int
    text: str


def make_token(
    engine: sa.Engine,
    kind: TokenKind = "user",
    user_id: int | None = None,
    scopes: Sequence[str] = SCOPES,
    *,
    now: datetime | None = None,
    **columns: Any,
) -> Made:
    """One that is good for a day; `scopes` count for a user's alone."""
    now = now or datetime.now(UTC)
    secret = token_format.new_secret()
    row = {
        "kind": kind,
        "user_id": user_id,
        "name": "for a test",
        "scopes": " ".join(scopes) if kind == "user" else "",
        "secret_sha256": token_format.digest(secret),
        "created_at": now - DAY,
        "expires_at": now + DAY,
        **columns,
    }
    with engine.begin() as connection:
        token_id = connection.execute(sa.insert(Token).values(row).returning(Token.id)).scalar_one()
    return Made(token_id, token_format.write(kind, token_id, secret))


def bearer(token: Made | str) -> dict[str, str]:
    """The headers of a request that shows `token`."""
    return {"Authorization": f"Bearer {token.text if isinstance(token, Made) else token}"}


def make_session(
    engine: sa.Engine,
    *,
    user_id: int | None = None,
    token: Made | None = None,
    by_password: bool = True,
) -> str:
    """The secret of a session in the console that is good for an hour."""
    secret, now = token_format.new_secret(), datetime.now(UTC)
    row = {
        "secret_sha256": token_format.digest(secret),
        "user_id": user_id,
        "token_id": token and token.id,
        "by_password": user_id is not None and by_password,
        "created_at": now,
        "last_seen_at": now,
        "expires_at": now + timedelta(hours=1),
    }
    with engine.begin() as connection:
        connection.execute(sa.insert(ConsoleSession).values(row))
    return secret
