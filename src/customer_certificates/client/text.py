"""Text for a terminal."""

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from ..terminal import escaped, escaped_lines

# Wide enough for any row: a program or a pager at the end of a pipe folds lines itself.
_UNFOLDED = 10_000
NONE = "–"


class SafeConsole(Console):
    """A console that escapes all text, even where a command forgot to."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield segment._replace(text=escaped_lines(segment.text))


def console(*, errors: bool = False) -> SafeConsole:
    """Returns a console for standard output or error.

    Lines fold at the width of the terminal. Without a terminal, lines do not fold.
    """
    is_terminal = (sys.stderr if errors else sys.stdout).isatty()
    width = None if is_terminal else _UNFOLDED
    return SafeConsole(stderr=errors, width=width, highlight=False, emoji=False)


def table(headings: Sequence[str], rows: Iterable[Sequence[Text | str]]) -> Table:
    """Returns a table. Strings are escaped."""
    built = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        built.add_column(heading, overflow="fold")
    for row in rows:
        built.add_row(*(Text(escaped(cell)) if isinstance(cell, str) else cell for cell in row))
    return built


def print_error(message: str) -> None:
    """Prints `message` to standard error, in red on a terminal."""
    console(errors=True).print(Text(f"customer-certificates: {escaped(message)}", "red"))


def places(files: tuple[Path, ...]) -> str:
    """Returns the paths in one line, without repeating a folder."""
    names = [str(files[0])]
    for before, path in pairwise(files):
        names.append(path.name if path.parent == before.parent else str(path))
    return escaped(" + ".join(names))


def path_text(path: Path) -> str:
    """Returns `path` as text that JSON can hold."""
    return escaped(str(path))


def first_of(names: tuple[str, ...]) -> str:
    """Returns the first name, and the number of others."""
    if not names:
        return NONE
    return escaped(names[0]) + (f" +{len(names) - 1}" if names[1:] else "")


def day(moment: datetime, now: datetime) -> str:
    """Returns the day of `moment`, and the time between it and `now`."""
    return f"{moment:%Y-%m-%d} ({distance(moment, now)})"


def distance(moment: datetime, now: datetime) -> str:
    """Returns the time between `moment` and `now` in days, or in hours below two days."""
    seconds = (moment - now).total_seconds()
    amount = _amount(abs(seconds) / 3600)
    return f"{amount} ago" if seconds < 0 else f"in {amount}"


def counted(number: int, thing: str) -> str:
    """Returns the number with its noun: `1 file`, `2 files`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _amount(hours: float) -> str:
    return counted(int(hours), "hour") if hours < 48 else counted(int(hours / 24), "day")
