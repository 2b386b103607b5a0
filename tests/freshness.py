"""Many clients at one list at once, in processes of their own, and a judge of what they were shown.

A round is the life of one user. It begins with some certificates; writers activate and delete
those, and upload and activate others, while readers read the list without pause; then the user is
deleted. Each certificate has one writer and takes its steps in one direction only, so what a reader
sees of it tells how far it has come.
"""

import http.client
import itertools
import multiprocessing
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from threading import Event
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import msgspec

from .factories import a_user

# What the list says of a certificate (its `active`, or None where it is not there), step by step.
UPLOADED_NOW = (None, False, True)
THERE_BEFORE = (False, True, None)
# The user counts as an item too, there at first and then deleted.
USER = 0

_PROCESSES = 3
_WRITERS = 2
_READERS = 2
_READS_AFTER_THE_END = 3


class Write(NamedTuple):
    """`item` was brought to `step`: sent at `start`, acknowledged at `end`."""

    start: int
    end: int
    item: int
    step: int


class Read(NamedTuple):
    """The list between `start` and `end`: each certificate's `active`; None for a 404."""

    start: int
    end: int
    view: str
    shown: Mapping[int, bool] | None


class Violation(NamedTuple):
    """What a read was shown and must not have been."""

    kind: str
    read: Read
    item: int


class Round(NamedTuple):
    """All that was done to one user, and what was seen of it."""

    there_before: Sequence[int]
    writes: Sequence[Write]
    reads: Sequence[Read]


def judge(played: Round) -> list[Violation]:
    """Where the reads of `played` contradict its writes or one another.

    Times are one clock's over all processes. What was acknowledged, or shown, before a read began
    binds that read; what overlaps it does not.
    """
    uploaded = {write.item for write in played.writes} - {USER, *played.there_before}
    steps: dict[int, tuple[bool | None, ...]] = {
        **dict.fromkeys(played.there_before, THERE_BEFORE),
        **dict.fromkeys(uploaded, UPLOADED_NOW),
    }
    events: list[tuple[int, int, Write | Read]] = []
    for write in played.writes:
        events += [(write.start, 0, write), (write.end, 3, write)]
    for read in played.reads:
        events += [(read.start, 1, read), (read.end, 2, read)]
    # At the same instant: everything begins before anything ends.
    events.sort(key=lambda event: event[:2])

    begun = dict.fromkeys([USER, *steps], 0)
    acknowledged, seen = dict(begun), dict(begun)
    bounds: dict[int, tuple[dict[int, int], dict[int, int]]] = {}
    violations: list[Violation] = []
    for _, what, event in events:
        if isinstance(event, Write):
            _raise_to(begun if what == 0 else acknowledged, event.item, event.step)
        elif what == 1:
            bounds[id(event)] = dict(acknowledged), dict(seen)
        else:
            oldest_by_writes, oldest_by_reads = bounds.pop(id(event))
            unknown = (event.shown or {}).keys() - steps.keys()
            violations += [Violation("from nowhere", event, item) for item in unknown]
            for item, least, most in _progress(event, steps):
                if most < oldest_by_writes[item]:
                    violations.append(Violation("older than an acknowledged write", event, item))
                if most < oldest_by_reads[item]:
                    violations.append(Violation("went back", event, item))
                if least > begun[item]:
                    violations.append(Violation("ahead of its write", event, item))
                _raise_to(seen, item, least)
    return violations + _disorder(played.reads, steps)


def _progress(
    read: Read, steps: Mapping[int, tuple[bool | None, ...]]
) -> Iterator[tuple[int, int, int]]:
    """Each item with the least and the most steps that it can have taken, by what was shown."""
    if read.shown is None:
        yield USER, 1, 1
        return
    yield USER, 0, 0
    for item, states in steps.items():
        shown = read.shown.get(item)
        if read.view == "all":
            possible = [n for n, state in enumerate(states) if state is shown]
        else:
            possible = [n for n, state in enumerate(states) if (state is True) is (shown is True)]
        if possible:
            yield item, possible[0], possible[-1]


def _disorder(
    reads: Sequence[Read], steps: Mapping[int, tuple[bool | None, ...]]
) -> list[Violation]:
    """Lists have one order for all: of two, one has every item as far as the other, or further."""
    vectors: dict[tuple[int, ...], Read] = {}
    for read in reads:
        if read.view == "all" and read.shown is not None:
            vectors[tuple(least for _, least, _ in _progress(read, steps))] = read
    ordered = sorted(vectors, key=sum)
    return [
        Violation("in no one order", vectors[later], 0)
        for earlier, later in itertools.pairwise(ordered)
        if any(a > b for a, b in zip(earlier, later, strict=False))
    ]


def _raise_to(steps: dict[int, int], item: int, step: int) -> None:
    steps[item] = max(steps.get(item, 0), step)


class Clients:
    """Processes that write and read; `play` has them do it."""

    def __init__(self, turns: int = 5) -> None:
        """`turns` is how many certificates each writer uploads in a round; it deletes as many."""
        self.rounds = self.reads = self.writes = 0
        self._turns = turns
        self._pipes: list[Connection] = []
        self._processes = []
        context = multiprocessing.get_context("forkserver")
        for _ in range(_PROCESSES):
            pipe, its_pipe = context.Pipe()
            process = context.Process(target=_process, args=(its_pipe,), daemon=True)
            process.start()
            its_pipe.close()
            self._processes.append(process)
            self._pipes.append(pipe)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self._pipes:
            with suppress(OSError):
                pipe.send(None)
            pipe.close()
        for process in self._processes:
            process.join()

    def play(self, url: str, enough: Callable[[], bool]) -> list[Violation]:
        """Rounds at the service at `url`, until `enough()` or until one has violations.

        Raises RuntimeError where the service answers other than it should.
        """
        while True:
            played = self._round(url)
            self.rounds += 1
            self.reads += len(played.reads)
            self.writes += len(played.writes)
            violations = judge(played)
            if violations or enough():
                return violations

    def _round(self, url: str) -> Round:
        with Caller(url) as caller:
            return self._play(url, caller)

    def _play(self, url: str, caller: "Caller") -> Round:
        user = caller.post("/users", a_user())
        there_before = [
            caller.post(f"/users/{user}/certificates", _upload())
            for _ in range(_PROCESSES * _WRITERS * self._turns)
        ]
        shares = iter(there_before)
        for pipe in self._pipes:
            its_shares = [list(itertools.islice(shares, self._turns)) for _ in range(_WRITERS)]
            pipe.send((url, user, its_shares))
        written = [pipe.recv() for pipe in self._pipes]
        deletion = caller.write("DELETE", f"/users/{user}", None, USER, 1)
        for pipe in self._pipes:
            pipe.send("the user is gone")
        read = [pipe.recv() for pipe in self._pipes]
        for outcome in written + read:
            if isinstance(outcome, str):
                raise RuntimeError(outcome)
        writes, reads = itertools.chain(*written, [deletion]), itertools.chain(*read)
        return Round(there_before, list(writes), list(reads))


class Caller:
    """A client with a few connections, used in turn: they end at different worker processes."""

    def __init__(self, url: str) -> None:
        netloc = urlsplit(url).netloc
        self._all = [http.client.HTTPConnection(netloc, timeout=30) for _ in range(_CONNECTIONS)]
        self._connections = itertools.cycle(self._all)
        self._known: dict[str, tuple[str, Mapping[int, bool]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._all:
            connection.close()

    def post(self, path: str, content: object) -> int:
        """The id of what was made."""
        status, _, body = self._ask("POST", path, content)
        if status != 201:
            raise RuntimeError(f"POST {path}: {status} {body!r}")
        return int(msgspec.json.decode(body)["id"])

    def write(self, method: str, path: str, content: object, item: int | None, step: int) -> Write:
        """Does it; an `item` that is not given is the one that is made."""
        start = time.monotonic_ns()
        status, _, body = self._ask(method, path, content)
        end = time.monotonic_ns()
        if status not in (201, 202, 204):
            raise RuntimeError(f"{method} {path}: {status} {body!r}")
        return Write(start, end, msgspec.json.decode(body)["id"] if item is None else item, step)

    def read(self, user: int, view: str, *, conditional: bool = False) -> Read:
        """The list of `user`: `view` is "all" or "active". A 304 shows what was shown before."""
        path = f"/users/{user}/certificates?limit=1000{'&active=true' * (view == 'active')}"
        tag, shown = self._known.get(path, ("", None)) if conditional else ("", None)
        start = time.monotonic_ns()
        status, new_tag, body = self._ask("GET", path, None, tag)
        end = time.monotonic_ns()
        if status == 404:
            return Read(start, end, view, None)
        if status != 304 or shown is None:
            if status != 200:
                raise RuntimeError(f"GET {path}: {status} {body!r}")
            rows = _decode(body)
            shown = {row.id: row.active for row in rows}
            if [*shown] != sorted({row.id for row in rows}) or {row.user_id for row in rows} - {
                user
            }:
                raise RuntimeError(f"GET {path}: this is not the list of user {user}: {body!r}")
            self._known[path] = new_tag, shown
        return Read(start, end, view, shown)

    def _ask(
        self, method: str, path: str, content: object, known: str = ""
    ) -> tuple[int, str, bytes]:
        headers = {"If-None-Match": known} if known else {}
        body = None
        if content is not None:
            headers["Content-Type"] = "application/json"
            body = msgspec.json.encode(content)
        connection = next(self._connections)
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.headers.get("ETag", ""), response.read()


class _Row(msgspec.Struct):
    id: int
    user_id: int
    active: bool


_CONNECTIONS = 3
_decode = msgspec.json.Decoder(list[_Row]).decode


def _upload() -> dict[str, Any]:
    # Neither is looked into in these rounds; small ones leave more time for races.
    return {"body": "a certificate", "private_key": "YSBrZXk="}


def _process(pipe: Connection) -> None:
    """A client process: rounds until there are no more."""
    with ThreadPoolExecutor(_WRITERS + _READERS) as threads:
        while (order := pipe.recv()) is not None:
            url, user, shares = order
            gone = Event()
            reading = [threads.submit(_reads, url, user, gone) for _ in range(_READERS)]
            writing = [threads.submit(_writes, url, user, share) for share in shares]
            pipe.send(_outcome(writing))
            pipe.recv()
            gone.set()
            pipe.send(_outcome(reading))


def _outcome(futures: Sequence[Future[list[Any]]]) -> list[Any] | str:
    """What all of `futures` gave, or how one failed."""
    try:
        return [record for future in futures for record in future.result()]
    except Exception:
        return traceback.format_exc()


def _writes(url: str, user: int, there_before: Sequence[int]) -> list[Write]:
    writes: list[Write] = []
    certificates = f"/users/{user}/certificates"
    activate = {"active": True}
    with Caller(url) as caller:
        for old in there_before:
            new = caller.write("POST", certificates, _upload(), None, 1)
            writes += [
                new,
                caller.write("PATCH", f"{certificates}/{old}/active", activate, old, 1),
                caller.write("PATCH", f"{certificates}/{new.item}/active", activate, new.item, 2),
                caller.write("DELETE", f"{certificates}/{old}", None, old, 2),
            ]
    return writes


def _reads(url: str, user: int, gone: Event) -> list[Read]:
    reads: list[Read] = []
    left = _READS_AFTER_THE_END
    ways = itertools.cycle([("all", False), ("active", False), ("all", True), ("active", True)])
    with Caller(url) as caller:
        while left:
            left -= gone.is_set()
            view, conditional = next(ways)
            reads.append(caller.read(user, view, conditional=conditional))
    return reads
