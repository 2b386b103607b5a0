"""Decides whether the history of one user is linearizable, and finds the operations that are not.

Each write and each read must appear to happen at one instant between its start and its end. The
search is just-in-time linearization (Gavin Lowe, "Testing for linearizability", Concurrency and
Computation 29(4), 2017, section 5; Knossos' `linear`), on the grounds of Wing and Gong's (JPDC
17, 1993): it walks through the history and keeps every configuration, a state and the pending
operations that have happened in it. A write happens only when an operation that ends needs it.
Two facts keep the configurations few, and the search exact:

- A read changes nothing, so it happens as soon as a state matches it.
- A write may wait, unless a pending read shows it, another pending write has the same subject, or
  the user is being deleted. A list shows all values, so it says which writes have happened.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from .operations import NAME, USER, Certificates, Operation, Read, State, Write, active_of

Kind = Literal["stale", "torn", "lost"]


class Finding(NamedTuple):
    """An operation whose answer no order of the operations explains.

    "stale": a read shows a state that was. "torn": a read shows a state that never was. "lost": an
    acknowledged write is not shown by any later read.
    """

    kind: Kind
    operation: Operation


def check(history: Sequence[Operation], initial: State) -> list[Finding]:
    """The operations of one user that cannot be explained; the search goes on without them."""
    torn = _torn_pages(history)
    excluded = {finding.operation.number for finding in torn}
    rest = [one for one in history if one.number not in excluded]
    found = _Search(initial).run(_without_unseen(rest))
    return torn + (_with_lost(found, rest) if found else [])


class _Configuration(NamedTuple):
    """A state, and the numbers of the pending operations that have happened in it."""

    state: State
    happened: frozenset[int]


class _Search:
    def __init__(self, initial: State) -> None:
        self._configurations = {_Configuration(initial, frozenset())}
        self._past = {initial}
        self._writes: dict[int, Write] = {}
        self._reads: dict[int, Read] = {}
        self._subjects: Counter[str] = Counter()

    def run(self, history: Iterable[Operation]) -> list[Finding]:
        findings: list[Finding] = []
        for begins, operation in _events(history):
            if begins:
                self._begin(operation)
                continue
            reached = {
                after for before in self._configurations for after in self._end(before, operation)
            }
            if not reached:
                findings.append(Finding(self._kind_of(operation), operation))
                reached = {self._without(one, operation) for one in self._configurations}
            self._forget(operation, reached)
        return findings

    def _begin(self, operation: Operation) -> None:
        if isinstance(operation, Write):
            self._writes[operation.number] = operation
            self._subjects[operation.subject] += 1
            return
        self._reads[operation.number] = operation
        self._configurations = {
            one._replace(happened=one.happened | {operation.number})
            if operation.matches(one.state)
            else one
            for one in self._configurations
        }

    def _end(self, start: _Configuration, operation: Operation) -> Iterator[_Configuration]:
        """The configurations that follow `start` and in which `operation` has happened."""
        if operation.number in start.happened:
            yield start
            return
        reached, waiting = {start}, [start]
        while waiting:
            before = waiting.pop()
            for write in self._useful(before, operation):
                state = write.apply(before.state)
                if state is None:
                    continue
                after = self._with(before, write, state)
                if after in reached:
                    continue
                reached.add(after)
                self._past.add(state)
                if operation.number in after.happened:
                    yield after
                else:
                    waiting.append(after)

    def _useful(self, before: _Configuration, target: Operation) -> list[Write]:
        """The pending writes that may have to happen next, for `target` to happen."""
        pending = [one for one in self._writes.values() if one.number not in before.happened]
        if self._subjects[USER]:
            return pending
        reads = [one for one in self._reads.values() if one.number not in before.happened]
        return [
            one
            for one in pending
            if one is target
            or self._subjects[one.subject] > 1
            or any(read.shows(one) for read in reads)
        ]

    def _with(self, before: _Configuration, write: Write, state: State) -> _Configuration:
        shown = [
            number
            for number, read in self._reads.items()
            if number not in before.happened and read.matches(state)
        ]
        return _Configuration(state, before.happened.union((write.number, *shown)))

    def _without(self, one: _Configuration, operation: Operation) -> _Configuration:
        """`one` after an operation that cannot be explained: a write is believed."""
        if isinstance(operation, Read):
            return one
        state = operation.apply(one.state, forced=True)
        return self._with(one, operation, state or one.state)

    def _forget(self, operation: Operation, reached: set[_Configuration]) -> None:
        """`operation` has ended, so every configuration has it."""
        if isinstance(operation, Write):
            del self._writes[operation.number]
            self._subjects[operation.subject] -= 1
        else:
            del self._reads[operation.number]
        number = {operation.number}
        self._configurations = {one._replace(happened=one.happened - number) for one in reached}

    def _kind_of(self, operation: Operation) -> Kind:
        if isinstance(operation, Write):
            return "lost"
        return "stale" if any(operation.matches(state) for state in self._past) else "torn"


def _events(history: Iterable[Operation]) -> Iterator[tuple[bool, Operation]]:
    """Starts (True) and ends, in order; at one instant everything starts before anything ends."""
    events = [(one.start, 0, one.number, one) for one in history]
    events += [(one.end, 1, one.number, one) for one in history if one.end is not None]
    for _, ends, _, operation in sorted(events, key=lambda event: event[:3]):
        yield not ends, operation


def _without_unseen(history: Sequence[Operation]) -> list[Operation]:
    """`history` without the unknown writes that no read shows: they explain nothing."""
    reads = [one for one in history if isinstance(one, Read)]
    return [
        one
        for one in history
        if isinstance(one, Read)
        or one.end is not None
        or any(read.end >= one.start and read.shows(one) for read in reads)
    ]


def _torn_pages(history: Sequence[Operation]) -> list[Finding]:
    """Reads of pages that are none, and of a revision that showed something else before."""
    lists: dict[str, Certificates] = {}
    actives: dict[str, Certificates] = {}
    findings: list[Finding] = []
    for read in history:
        if isinstance(read, Write):
            continue
        if read.flaw:
            findings.append(Finding("torn", read))
        elif read.shown is not None and read.revision and read.view in ("list", "active"):
            shown = frozenset(read.shown.items())
            active = active_of(shown)
            known = lists if read.view == "list" else actives
            first = known.setdefault(read.revision, shown)
            if first != shown or actives.setdefault(read.revision, active) != active:
                findings.append(Finding("torn", read))
    return findings


def _with_lost(findings: list[Finding], history: Sequence[Operation]) -> list[Finding]:
    """`findings`; "lost" is the first read that lacks a write which no later read shows either.
    The later ones are left out, for they say the same."""
    reads = [one for one in history if isinstance(one, Read) and one.view in ("list", "user")]
    writes = [one for one in history if isinstance(one, Write)]
    for write in writes:
        later = _later(reads, write)
        if not later or _is_shown(write, writes, later):
            continue
        numbers = {read.number for read in later}
        same = [finding for finding in findings if finding.operation.number in numbers]
        findings = [
            finding._replace(kind="lost") if finding in same else finding
            for finding in findings
            if finding not in same[1:]
        ]
    return findings


def _later(reads: Sequence[Read], write: Write) -> list[Read]:
    """The reads that must show `write`, if it is not unknown and the user is not deleted."""
    if write.end is None:
        return []
    end = write.end
    wanted = "user" if write.subject == NAME else "list"
    return [
        read
        for read in reads
        if read.start > end and read.view == wanted and read.shown is not None
    ]


def _is_shown(write: Write, writes: Sequence[Write], later: Sequence[Read]) -> bool:
    """Whether a read of `later` shows `write`, or a write that came after it."""
    following = [
        one
        for one in writes
        if one.subject == write.subject and (one is write or one.start > write.start)
    ]
    return any(read.shows(one) for read in later for one in following)


def smallest(
    history: Sequence[Operation], initial: State, finding: Finding
) -> tuple[list[Operation], State]:
    """The fewest operations that still show `finding`, and the state before them."""
    target = finding.operation
    last = target.end or target.start
    kept = [one for one in history if one.start <= last]
    labels = {one.subject for one in kept if isinstance(one, Write)} - {USER}
    for label in sorted(labels):
        about = [_about(one, label) for one in kept if not _is_of_another(one, label)]
        alone = State(
            initial.name, frozenset(one for one in initial.certificates if one[0] == label)
        )
        if _shows(about, alone, finding):
            kept, initial = about, alone
            break
    kept = _with_fewer_reads(kept, initial, finding)
    for one in sorted(kept, key=lambda one: (isinstance(one, Write), one.start)):
        if one.number == target.number:
            continue
        fewer = [other for other in kept if other is not one]
        after = _state_after(one, fewer, initial)
        if after and _shows(fewer, after, finding):
            kept, initial = fewer, after
        elif not _is_built_on(one, fewer) and _shows(fewer, initial, finding):
            kept = fewer
    return sorted(kept, key=lambda one: one.start), initial


def _with_fewer_reads(kept: list[Operation], initial: State, finding: Finding) -> list[Operation]:
    """Leaves out most of the reads that are of no matter, many at a time."""
    target = finding.operation.number
    reads = [one.number for one in kept if isinstance(one, Read) and one.number != target]
    size = len(reads)
    while size:
        for begin in range(0, len(reads), size):
            left_out = set(reads[begin : begin + size])
            fewer = [one for one in kept if one.number not in left_out]
            if len(fewer) < len(kept) and _shows(fewer, initial, finding):
                kept = fewer
        size //= 2
    return kept


def _state_after(one: Operation, others: Sequence[Operation], state: State) -> State | None:
    """`state` after a write that ended before all others began."""
    if isinstance(one, Read) or one.end is None or any(other.start <= one.end for other in others):
        return None
    return one.apply(state)


def _is_built_on(one: Operation, others: Sequence[Operation]) -> bool:
    """Whether a later write needs `one`."""
    return isinstance(one, Write) and any(
        isinstance(other, Write) and other.subject == one.subject and other.start > one.start
        for other in others
    )


def _shows(history: Sequence[Operation], initial: State, finding: Finding) -> bool:
    """Whether the same is found in `history`; a lost write is a stale read with less of it."""
    same = {"torn"} if finding.kind == "torn" else {"stale", "lost"}
    return any(
        one.operation.number == finding.operation.number and one.kind in same
        for one in check(history, initial)
    )


def _is_of_another(one: Operation, label: str) -> bool:
    if isinstance(one, Write):
        return one.subject not in (label, USER)
    if one.view == "certificate":
        return one.subject != label
    return (one.view == "user") != (label == NAME)


def _about(one: Operation, label: str) -> Operation:
    return one if isinstance(one, Write) else one.about(label)
