"""Which tests with the marks `one_backend` and `one_combination` are not run."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from zlib import crc32

import pytest


def not_on_this_backend(items: Iterable[pytest.Item]) -> Iterator[pytest.Item]:
    """The items that are run with `--all` only.

    With a name, the mark keeps the backend of that name. Without one, it keeps each combination of
    the other parameters on one backend or the other, as on a chessboard. The test's name decides
    which backend is first, so that tests without other parameters are shared out, too.
    """
    # Of each test and parameter: its values, in the order in which they come.
    values: defaultdict[tuple[str, ...], list[object]] = defaultdict(list)
    for item in items:
        mark = item.get_closest_marker("one_backend")
        if mark is None or item.get_closest_marker("both_backends"):
            continue
        if not isinstance(item, pytest.Function) or not _has_backend(item):
            continue
        if mark.args:
            if item.callspec.params["backend"] not in mark.args:
                yield item
            continue
        test = item.nodeid.partition("[")[0]
        place = crc32(test.encode())
        for names in _parameters(item):
            known = values[test, *names]
            # The objects are the same ones on both backends; some cannot be compared.
            value = tuple(id(item.callspec.params[name]) for name in names)
            if value not in known:
                known.append(value)
            place += known.index(value)
        if place % 2 == 1:
            yield item


def not_this_combination(items: Iterable[pytest.Item]) -> Iterator[pytest.Item]:
    """The items that are run with `--all` only: the mark `one_combination` keeps one combination of
    the other parameters for each value of the parameter that it names, in turn."""
    cases: defaultdict[tuple[str, object], list[pytest.Item]] = defaultdict(list)
    for item in items:
        mark = item.get_closest_marker("one_combination")
        if mark and isinstance(item, pytest.Function):
            case = item.callspec.params[mark.args[0]]
            cases[item.nodeid.partition("[")[0], case].append(item)
    for turn, combinations in enumerate(cases.values()):
        kept = combinations[turn % len(combinations)]
        yield from (item for item in combinations if item is not kept)


def _has_backend(item: pytest.Function) -> bool:
    return hasattr(item, "callspec") and "backend" in item.callspec.params


def _parameters(item: pytest.Function) -> list[tuple[str, ...]]:
    """The names of its parameters; those that get their values together come together."""
    together: list[tuple[str, ...]] = []
    for mark in item.iter_markers("parametrize"):
        names = mark.args[0]
        split = names.split(",") if isinstance(names, str) else names
        together.append(tuple(name.strip() for name in split))
    grouped = {name for names in together for name in names}
    return together + [(name,) for name in item.callspec.params if name not in grouped]
