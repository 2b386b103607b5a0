"""Tokens as a table."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from ..client.text import NONE, console
from ..terminal import escaped

if TYPE_CHECKING:
    from ..services.access.tokens import TokenView


def print_tokens(tokens: "Sequence[TokenView]") -> None:
    """Prints a row for each token."""
    out = console()
    if not tokens:
        out.print("There are no tokens.")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("id", "kind", "user", "name", "expires", "last used", "revoked"):
        table.add_column(heading, overflow="fold")
    for token in tokens:
        cells = (
            str(token.id),
            token.kind,
            str(token.user_id or NONE),
            token.name,
            _day(token.expires_at),
            _day(token.last_used_at),
            _day(token.revoked_at),
        )
        table.add_row(*(Text(escaped(cell)) for cell in cells))
    out.print(table)


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d}" if moment else NONE
