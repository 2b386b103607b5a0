"""A few operations of a history, for people to read."""

from collections.abc import Sequence

from .operations import NAME, Operation, Read, State, Write


def described(title: str, wrong: Operation, operations: Sequence[Operation], before: State) -> str:
    """A line for each operation, in milliseconds before the end of the one that is wrong."""
    zero = wrong.end or wrong.start
    lines = [title, f"  before: {_state(before)}", "      start        end"]
    for one in operations:
        end = "         ?" if one.end is None else f"{(one.end - zero) / 1e6:10.1f}"
        mark = "  <- no order of these operations explains it" if one.number == wrong.number else ""
        lines.append(
            f" {(one.start - zero) / 1e6:10.1f} {end} ms  {one.client}: {_said(one)}{mark}"
        )
    return "\n".join(lines)


def _said(one: Operation) -> str:
    if isinstance(one, Write):
        return f"{one.action}: {'unknown' if one.end is None else 'done'}"
    return f"{_view(one)}{_revision(one)}: {_values(one)}{f' ({one.flaw})' if one.flaw else ''}"


def _view(read: Read) -> str:
    if read.view == "certificate":
        return f"404 for {read.subject}"
    views = {"list": "list", "active": "list of active", "user": "user"}
    return f"{'304, ' if read.conditional else ''}{views[read.view]}"


def _revision(read: Read) -> str:
    return f" {read.revision[:10]}" if read.revision else ""


def _values(read: Read) -> str:
    if read.shown is None:
        return "there is none"
    if read.view == "user":
        return read.shown.get(NAME, "nothing")
    return ", ".join(f"{label} {value}" for label, value in sorted(read.shown.items())) or "empty"


def _state(state: State) -> str:
    if state.name is None:
        return "the user is deleted"
    items = ", ".join(f"{label} {value}" for label, value in sorted(state.certificates))
    return f"{state.name}; {items or 'no certificates'}"
