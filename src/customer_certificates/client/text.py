"""How things are said in a terminal."""

import sys
from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from ..terminal import escaped, escaped_lines

# Wide enough for any row: what reads a pipe is a program, or a pager that folds lines itself.
_UNFOLDED = 10_000
NONE = "–"


class SafeConsole(Console):
    """Escapes whatever is printed, also where `escaped` was forgotten."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield segment._replace(text=escaped_lines(segment.text))


def console(*, errors: bool = False) -> SafeConsole:
    """Standard output, or standard error: as wide as the terminal; where it is none, unfolded."""
    is_terminal = (sys.stderr if errors else sys.stdout).isatty()
    width = None if is_terminal else _UNFOLDED
    return SafeConsole(stderr=errors, width=width, highlight=False, emoji=False)


def places(files: tuple[Path, ...]) -> str:
    """The paths, without a folder that was just named."""
    said = [str(files[0])]
    for before, path in pairwise(files):
        said.append(path.name if path.parent == before.parent else str(path))
    return escaped(" + ".join(said))


def first_of(names: tuple[str, ...]) -> str:
    """The first name, and how many more there are."""
    if not names:
        return NONE
    return escaped(names[0]) + (f" +{len(names) - 1}" if names[1:] else "")


def day(moment: datetime, now: datetime) -> str:
    """The day of `moment`, and how far it is from `now`."""
    return f"{moment:%Y-%m-%d} ({distance(moment, now)})"


def distance(moment: datetime, now: datetime) -> str:
    """How far `moment` is from `now`, in days or, below one, in hours."""
    seconds = (moment - now).total_seconds()
    amount = _amount(abs(seconds) / 3600)
    return f"{amount} ago" if seconds < 0 else f"in {amount}"


def counted(number: int, thing: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _amount(hours: float) -> str:
    return counted(int(hours), "hour") if hours < 48 else counted(int(hours / 24), "day")
