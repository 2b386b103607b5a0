"""The life of one user: writers and readers at work on it, then its deletion, and the verdict."""

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Literal, NamedTuple

import msgspec

from .client import Gate, Target, UserClient
from .linearizability import check, smallest
from .operations import NAME, USER, Operation, Read, State, View, Write, value_of
from .recording import Recording, now
from .window import described

_WRITERS = 2
_READERS = 3
_LIVE_CERTIFICATES = 3
_RENAMES = 0.1

Kind = Literal["stale", "torn", "lost", "wrong status"]


class Problem(msgspec.Struct):
    """Something that was found, with the operations that show it; without them if others of the
    same user are shown."""

    kind: Kind
    text: str = ""


class Outcome(msgspec.Struct):
    """The outcome of one or more lives: counts, and the problems that were found."""

    lives: int = 0
    reads: int = 0
    writes: int = 0
    unknown: int = 0
    not_modified: int = 0
    statuses: dict[str, int] = {}
    problems: list[Problem] = []

    @property
    def operations(self) -> int:
        return self.reads + self.writes

    def add(self, other: "Outcome") -> None:
        self.lives += other.lives
        self.reads += other.reads
        self.writes += other.writes
        self.unknown += other.unknown
        self.not_modified += other.not_modified
        self.statuses = dict(Counter(self.statuses) + Counter(other.statuses))
        self.problems = [*self.problems, *other.problems]


class Plan(msgspec.Struct):
    """The parameters of a life. They are stored, so that a later run can finish the life."""

    number: int
    seed: int
    writes: int
    seconds: float
    user: int = 0


class _Certificate(NamedTuple):
    id: int
    step: int


class _Step(NamedTuple):
    action: str
    before: str
    after: str | None


# A certificate is uploaded active, and goes through these: no value comes twice.
FIRST_VALUE = value_of(1, True)
_STEPS = [
    _Step("deactivate", FIRST_VALUE, value_of(1, False)),
    _Step("replace", value_of(1, False), value_of(2, False)),
    _Step("activate", value_of(2, False), value_of(2, True)),
    _Step("delete", value_of(2, True), None),
]
_READS: list[tuple[View, bool]] = [
    ("list", False),
    ("list", True),
    ("active", False),
    ("active", True),
    ("user", False),
    ("user", True),
]
_WEIGHTS = [4, 4, 2, 2, 1, 1]
_FIRST_NAME = "name 0"


class Life:
    """One user among a few writers and readers."""

    def __init__(
        self,
        urls: Sequence[str],
        plan: Plan,
        folder: Path | None = None,
        gate: Gate = ExitStack,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """`gate` is entered for each request. `folder` keeps the life until it has ended."""
        self._urls = urls
        self._plan = plan
        self._gate = gate
        self._stopped = stopped
        self._plan_file = folder and folder / f"{plan.number}.json"
        self._history_file = folder and folder / f"{plan.number}.jsonl"
        self._recording = Recording(self._history_file)
        self._clients: list[UserClient] = []
        self._ids: dict[str, int] = {}

    def live(self) -> Outcome:
        """Registers a user, has it written and read, deletes it, and judges."""
        first = self._client("first")
        user = first.register(_FIRST_NAME)
        if user is None:
            return outcome_of("", self._clients, [], State(None, frozenset()))
        self._plan.user = first.user = user
        if self._plan_file:
            self._plan_file.write_bytes(msgspec.json.encode(self._plan))
        ended = Event()
        with ThreadPoolExecutor(_WRITERS + _READERS) as threads:
            clients = [self._client(f"reader {n}") for n in range(1, _READERS + 1)]
            reading = [threads.submit(self._read, client, ended) for client in clients]
            clients = [self._client(f"writer {n}") for n in range(1, _WRITERS + 1)]
            writing = [threads.submit(self._write, n, one) for n, one in enumerate(clients, 1)]
            try:
                for future in writing:
                    future.result()
            finally:
                ended.set()
            for future in reading:
                future.result()
        return self._end(first)

    def go_on(self) -> Outcome:
        """Ends a life that was cut short: all that was not answered by then is unknown."""
        if self._history_file and self._history_file.exists():
            self._recording.read_back(self._history_file)
        if any(one.start > now() for one in self._recording.history()):
            # The machine was started again, and its clock as well.
            self._forget()
            return Outcome()
        return self._end(self._client("later"))

    def _end(self, last: UserClient) -> Outcome:
        for _ in range(2 * len(self._urls)):
            last.read_at_last("list")
        last.read_at_last("user")
        path = f"/users/{last.user}"
        gone = Target("delete the user", USER, "there", None, "DELETE", path)
        if last.write(gone, keyed=True)[0] == "done":
            last.read_at_last("list")
            last.read_at_last("user")
        history = self._recording.history()
        self._recording.close()
        title = f"user {self._plan.user} (life {self._plan.number})"
        outcome = outcome_of(title, self._clients, history, State(_FIRST_NAME, frozenset()))
        self._forget()
        return outcome

    def _forget(self) -> None:
        for file in (self._plan_file, self._history_file):
            if file:
                file.unlink(missing_ok=True)

    def _client(self, name: str) -> UserClient:
        choices = random.Random(f"{self._plan.seed} {self._plan.number} {name}")
        client = UserClient(name, self._urls, self._recording, choices, self._ids, self._gate)
        client.user = self._plan.user
        self._clients.append(client)
        return client

    def _read(self, client: UserClient, ended: Event) -> None:
        choices = random.Random(f"{self._plan.seed} {client.name}")
        while not ended.is_set():
            view, conditional = choices.choices(_READS, _WEIGHTS)[0]
            client.read(view, conditional=conditional)

    def _write(self, number: int, client: UserClient) -> None:
        choices = random.Random(f"{self._plan.seed} {client.name}")
        path = f"/users/{client.user}"
        live: dict[str, _Certificate] = {}
        end = time.monotonic() + self._plan.seconds
        for turn in range(1, self._plan.writes + 1):
            if self._stopped() or time.monotonic() > end:
                return
            if number == 1 and choices.random() < _RENAMES:
                name = f"name {turn}"
                change = {"name": name}
                client.write(Target(f"rename to {name}", NAME, None, name, "PATCH", path, change))
            elif len(live) < choices.randint(1, _LIVE_CERTIFICATES):
                label = f"{number}-{turn}"
                if certificate := self._upload(client, label):
                    live[label] = certificate
            else:
                label = choices.choice(list(live))
                self._step(client, label, live)

    def _upload(self, client: UserClient, label: str) -> _Certificate | None:
        target = Target(
            f"upload {label}",
            label,
            None,
            FIRST_VALUE,
            "POST",
            f"/users/{client.user}/certificates",
            {**content_of(label, 1), "active": True},
        )
        result, body = client.write(target)
        return _Certificate(msgspec.json.decode(body)["id"], 0) if result == "done" else None

    def _step(self, client: UserClient, label: str, live: dict[str, _Certificate]) -> None:
        """Takes the certificate's next step. If the outcome is unknown, it is left alone then."""
        certificate = live[label]
        step = _STEPS[certificate.step]
        path = f"/users/{client.user}/certificates/{certificate.id}"
        method, suffix, content = {
            "deactivate": ("PATCH", "/active", {"active": False}),
            "activate": ("PATCH", "/active", {"active": True}),
            "replace": ("PUT", "", content_of(label, 2)),
            "delete": ("DELETE", "", None),
        }[step.action]
        result, _ = client.write(
            Target(
                f"{step.action} {label}",
                label,
                step.before,
                step.after,
                method,
                f"{path}{suffix}",
                content,
            )
        )
        if result == "unknown" or (result == "done" and step.after is None):
            del live[label]
        elif result == "done":
            live[label] = certificate._replace(step=certificate.step + 1)


def outcome_of(
    title: str, clients: Sequence[UserClient], history: Sequence[Operation], initial: State
) -> Outcome:
    """The verdict on the history of one user, whose clients have ended."""
    statuses: Counter[str] = Counter()
    problems: list[Problem] = []
    for client in clients:
        statuses += client.http.statuses
        client.http.close()
        problems += [Problem("wrong status", f"wrong status: {one}") for one in client.wrong]
    findings = check(history, initial)
    problems += [Problem(finding.kind) for finding in findings]
    if findings:
        # To find the operations that show it takes long; one of the same user is enough.
        first = findings[0]
        window, before = smallest(history, initial, first)
        problems[-len(findings)].text = described(
            f"{first.kind}: {title}", first.operation, window, before
        )
    writes = [one for one in history if isinstance(one, Write)]
    return Outcome(
        lives=1,
        reads=len(history) - len(writes),
        writes=len(writes),
        unknown=sum(one.end is None for one in writes),
        not_modified=sum(isinstance(one, Read) and one.conditional for one in history),
        statuses=dict(statuses),
        problems=problems,
    )


def content_of(label: str, version: int) -> dict[str, str]:
    """The content of an upload that says which one it is."""
    # The service cannot read these. It stores them all the same, and that leaves more time for
    # races.
    return {"body": f"{label} v{version}", "private_key": "YSBrZXk="}
