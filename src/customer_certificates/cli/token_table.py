"""Tokens as a table."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from ..client.text import NONE, console, table

if TYPE_CHECKING:
    from ..services.access.tokens import TokenView


def print_tokens(tokens: "Sequence[TokenView]") -> None:
    """Prints a row for each token."""
    if not tokens:
        console().print("There are no tokens.")
        return
    headings = ("id", "kind", "user", "name", "expires", "last used", "revoked")
    console().print(table(headings, map(_row, tokens)))


def _row(token: "TokenView") -> tuple[str, ...]:
    moments = map(_day, (token.expires_at, token.last_used_at, token.revoked_at))
    return str(token.id), token.kind, str(token.user_id or NONE), token.name, *moments


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d}" if moment else NONE
