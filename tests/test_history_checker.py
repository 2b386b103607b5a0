"""The checker finds wrong histories, and shows them with few operations."""

import itertools
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.history.linearizability import check, smallest
from checks.history.operations import NAME, USER, Operation, Read, State, View, Write
from checks.history.window import described

from .examples import examples

_EMPTY = State("Ada", frozenset())
_numbers = itertools.count(1)


def _write(
    start: int, end: int | None, subject: str, before: str | None, after: str | None
) -> Write:
    return Write(next(_numbers), "writer", start, end, f"write {subject}", subject, before, after)


def _read(
    start: int, end: int, view: View, shown: dict[str, str] | None, revision: str = ""
) -> Read:
    return Read(next(_numbers), "reader", start, end, view, shown, revision)


def _upload(start: int, end: int | None, label: str = "a") -> Write:
    return _write(start, end, label, None, "v1 inactive")


def _activate(start: int, end: int | None, label: str = "a") -> Write:
    return _write(start, end, label, "v1 inactive", "v1 active")


def _delete(start: int, end: int | None, label: str = "a") -> Write:
    return _write(start, end, label, "v1 inactive", None)


_A, _B = {"a": "v1 inactive"}, {"b": "v1 inactive"}
_ACTIVE = {"a": "v1 active"}


def _404_for(label: str, start: int, end: int) -> Read:
    return Read(next(_numbers), "writer", start, end, "certificate", None, subject=label)


_RIGHT: dict[str, list[Operation]] = {
    "one after another": [_upload(1, 2), _read(3, 4, "list", _A), _activate(5, 6)],
    "shown before it is acknowledged": [_upload(1, 9), _read(2, 3, "list", _A)],
    "overlapping, so not shown": [_upload(1, 9), _read(2, 3, "list", {})],
    "read for longer than it takes to write twice": [
        _read(1, 20, "list", _A),
        _upload(2, 4),
        _activate(5, 7),
    ],
    "two at once, of which one is shown first": [
        _upload(1, 10, "a"),
        _upload(1, 10, "b"),
        _read(2, 3, "list", _B),
        _read(4, 5, "list", {**_A, **_B}),
    ],
    "an active list": [_upload(1, 2), _activate(3, 4), _read(5, 6, "active", _ACTIVE)],
    "not in an active list": [_upload(1, 2), _read(3, 4, "active", {})],
    "an unknown write that happened": [_upload(1, None), _read(9, 10, "list", _A)],
    "an unknown write that did not happen": [_upload(1, None), _read(9, 10, "list", {})],
    "an unknown write that happened late": [
        _upload(1, None),
        _read(9, 10, "list", {}),
        _read(11, 12, "list", _A),
    ],
    "an unknown deletion": [
        _upload(1, 2),
        _delete(3, None),
        _read(4, 5, "list", _A),
        _read(6, 7, "list", {}),
    ],
    "two names at once, in either order": [
        _write(1, 9, NAME, None, "Bea"),
        _write(1, 9, NAME, None, "Cleo"),
        _read(10, 11, "user", {NAME: "Bea"}),
    ],
    "a deleted user": [
        _upload(1, 2),
        _write(3, 6, USER, "there", None),
        _read(4, 5, "list", None),
        _read(7, 8, "user", None),
    ],
    "a certificate that is not there": [_upload(1, 2), _delete(3, 4), _404_for("a", 5, 6)],
    "a revision that is shown twice": [
        _upload(1, 2),
        _activate(3, 4),
        _read(5, 6, "list", _ACTIVE, "r"),
        _read(7, 8, "active", _ACTIVE, "r"),
    ],
}

_WRONG: dict[str, tuple[str, list[Operation]]] = {
    "not shown after it was acknowledged": (
        "stale",
        [_upload(1, 2), _read(3, 4, "list", {}), _read(5, 6, "list", _A)],
    ),
    "in the list of active ones": (
        "stale",
        [_upload(1, 2), _activate(3, 4), _read(5, 6, "active", {}), _read(5, 6, "list", _ACTIVE)],
    ),
    "went back": (
        "stale",
        [
            _upload(1, 9),
            _read(2, 3, "list", _A),
            _read(4, 5, "list", {}),
            _read(10, 11, "list", _A),
        ],
    ),
    "went back in another view": (
        "stale",
        [
            _upload(1, 2),
            _activate(3, 20),
            _read(4, 5, "active", _ACTIVE),
            _read(6, 7, "list", _A),
            _read(21, 22, "list", _ACTIVE),
        ],
    ),
    "an old name": (
        "stale",
        [
            _write(1, 2, NAME, None, "Bea"),
            _read(3, 4, "user", {NAME: "Ada"}),
            _read(5, 6, "user", {NAME: "Bea"}),
        ],
    ),
    "an unknown write that was shown and is not": (
        "stale",
        [_upload(1, None), _read(2, 3, "list", _A), _read(4, 5, "list", {})],
    ),
    "a user that comes back": (
        "stale",
        [_write(1, 9, USER, "there", None), _read(2, 3, "list", None), _read(4, 5, "list", {})],
    ),
    "lost": ("lost", [_upload(1, 2), _read(3, 4, "list", {}), _read(5, 6, "list", {})]),
    "lost before the user is deleted": (
        "lost",
        [
            _upload(1, 2),
            _read(3, 4, "list", {}),
            _read(5, 6, "list", {}),
            _write(7, 8, USER, "there", None),
            _read(9, 10, "list", None),
        ],
    ),
    "a lost deletion": ("lost", [_upload(1, 2), _delete(3, 4), _read(5, 6, "list", _A)]),
    "a lost name": ("lost", [_write(1, 2, NAME, None, "Bea"), _read(3, 4, "user", {NAME: "Ada"})]),
    "changed although it is not there": ("lost", [_activate(3, 4)]),
    "a 404 for a certificate that is there": ("stale", [_upload(1, 2), _404_for("a", 3, 4)]),
    "a 404 for a user that is there": ("torn", [_read(1, 2, "list", None)]),
    "shown before it was sent": ("torn", [_read(1, 2, "list", _A), _upload(3, 4)]),
    "half of two writes that came one after the other": (
        "torn",
        [
            _upload(1, 2, "a"),
            _upload(3, 4, "b"),
            _read(5, 6, "list", _B),
            _read(7, 8, "list", {**_A, **_B}),
        ],
    ),
    "two orders at once": (
        "stale",
        [
            _upload(1, 10, "a"),
            _upload(1, 10, "b"),
            _read(2, 9, "list", _A),
            _read(2, 9, "list", _B),
            _read(11, 12, "list", {**_A, **_B}),
        ],
    ),
    "a value that nobody wrote": (
        "torn",
        [_upload(1, 2), _read(3, 4, "list", {"a": "v9 active"}), _read(5, 6, "list", _A)],
    ),
    "one revision with two contents": (
        "torn",
        [_read(1, 2, "list", {}, "r"), _upload(1, 9), _read(3, 4, "list", _A, "r")],
    ),
    "one revision with two contents in two views": (
        "torn",
        [
            _upload(1, 2),
            _activate(3, 30),
            _read(4, 5, "list", _A, "r"),
            _read(6, 7, "active", _ACTIVE, "r"),
        ],
    ),
}


@pytest.mark.parametrize("name", _RIGHT)
def test_a_right_history_has_no_finding(name: str) -> None:
    assert check(_RIGHT[name], _EMPTY) == []


@pytest.mark.parametrize("name", _WRONG)
def test_a_wrong_history_has_a_finding(name: str) -> None:
    kind, history = _WRONG[name]

    assert [finding.kind for finding in check(history, _EMPTY)] == [kind]


def test_one_stale_read_does_not_hide_the_next_one() -> None:
    stale = [_read(3, 4, "list", {}), _read(7, 8, "list", _A)]
    history: list[Operation] = [_upload(1, 2), stale[0], _activate(5, 6), stale[1]]
    history.append(_read(9, 10, "list", _ACTIVE))

    assert [finding.operation for finding in check(history, _EMPTY)] == stale


def test_a_finding_is_shown_with_few_of_a_thousand_operations() -> None:
    history: list[Operation] = []
    for turn in range(0, 1000, 4):
        history += [_upload(turn * 10, turn * 10 + 5, f"other-{turn}")]
    everything = {one.subject: "v1 inactive" for one in history if isinstance(one, Write)}
    history += [_upload(20_000, 20_001), _read(20_002, 20_003, "list", {**everything, **_A})]
    history += [_activate(20_004, 20_005)]
    stale = _read(20_006, 20_007, "list", {**everything, **_A}, "r1")
    history += [stale, _read(20_008, 20_009, "list", {**everything, **_ACTIVE})]
    (finding,) = check(history, _EMPTY)

    window, before = smallest(history, _EMPTY, finding)

    assert [one.number for one in window] == [history[-3].number, stale.number]
    assert before == State("Ada", frozenset({("a", "v1 inactive")}))
    assert described("stale: user 7", stale, window, before).splitlines() == [
        "stale: user 7",
        "  before: Ada; a v1 inactive",
        "      start        end",
        "       -0.0       -0.0 ms  writer: write a: done",
        "       -0.0        0.0 ms  reader: list: a v1 inactive"
        "  <- no order of these operations explains it",
    ]


_VALUES: dict[str, list[str | None]] = {
    "a": [None, "v1 inactive", "v1 active", None],
    "b": [None, "v1 active", None],
    NAME: ["Ada", "Bea", "Ada", "Cleo"],
}


@st.composite
def _histories(draw: st.DrawFn) -> list[Operation]:
    """Few operations, at times that often overlap; each certificate has one writer."""
    history: list[Operation] = []
    for subject, values in _VALUES.items():
        time = 0
        for before, after in itertools.pairwise(values):
            if draw(st.booleans()):
                break
            start = draw(st.integers(time, time + 4))
            end = draw(st.none() | st.integers(start + 1, start + 8))
            history.append(_write(start, end, subject, before, after))
            if end is None:
                break
            # Two clients may rename at once.
            time = end + 1 if subject != NAME else 0
    if draw(st.booleans()):
        history.append(_write(draw(st.integers(8, 14)), 15, USER, "there", None))
    shown: dict[View, list[dict[str, str] | None]] = {
        "list": [{}, _A, _ACTIVE, {"b": "v1 active"}, {**_ACTIVE, "b": "v1 active"}, None],
        "active": [{}, _ACTIVE, {"b": "v1 active"}, {**_ACTIVE, "b": "v1 active"}],
        "user": [{NAME: "Ada"}, {NAME: "Bea"}, {NAME: "Cleo"}, None],
    }
    for _ in range(draw(st.integers(1, 3))):
        view = draw(st.sampled_from(list(shown)))
        start = draw(st.integers(0, 15))
        history.append(
            _read(start, start + draw(st.integers(1, 8)), view, draw(st.sampled_from(shown[view])))
        )
    return history


@settings(max_examples=examples(300), deadline=None)
@given(_histories())
def test_the_search_agrees_with_trying_every_order(history: list[Operation]) -> None:
    assert (check(history, _EMPTY) == []) == _has_an_order(history, _EMPTY)


def _has_an_order(history: Sequence[Operation], state: State) -> bool:
    """By the definition: one operation after another, none before one that ended earlier."""
    if all(one.end is None for one in history):
        return True
    soonest = min(one.end for one in history if one.end is not None)
    return any(
        _has_an_order([other for other in history if other is not one], after)
        for one in history
        if one.start <= soonest
        for after in _after(one, state)
    )


def _after(one: Operation, state: State) -> Iterable[State]:
    if isinstance(one, Read):
        return [state] if one.matches(state) else []
    after = one.apply(state)
    return [] if after is None else [after]
