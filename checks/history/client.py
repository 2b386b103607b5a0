"""One client of one user: it writes or reads, and records what it did and saw."""

import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Literal, NamedTuple

import msgspec

from .http_client import Answer, HttpClient, NotAnswered, NotSent
from .operations import NAME, USER, Read, View, Write, value_of
from .recording import Recording, now

# How many revisions a client names in If-None-Match.
_KNOWN = 3
# How long a request is repeated; a fault is over by then.
_PATIENCE_SECONDS = 60
_PAUSE_SECONDS = 0.1
_CARRIED_OUT = range(200, 300)
_REFUSED = range(400, 500)
_FOR_NOW = (429, 503)

Result = Literal["done", "refused", "unknown"]
Gate = Callable[[], AbstractContextManager[Any]]


class Target(NamedTuple):
    """A write: where it goes, and what it changes."""

    action: str
    subject: str
    before: str | None
    after: str | None
    method: str
    path: str
    content: object = None


class _Row(msgspec.Struct):
    id: int
    user_id: int
    active: bool
    version: int
    body: str


class _User(msgspec.Struct):
    id: int
    name: str


_rows_of = msgspec.json.Decoder(list[_Row]).decode
_user_of = msgspec.json.Decoder(_User).decode


class UserClient:
    """For one thread."""

    def __init__(
        self,
        name: str,
        urls: Sequence[str],
        recording: Recording,
        choices: random.Random,
        ids: dict[str, int],
        gate: Gate = ExitStack,
    ) -> None:
        """`gate` is entered for each request. `ids` are those of the labels that the clients of
        this user know."""
        self.wrong: list[str] = []
        self.http = HttpClient(urls, choices)
        self.name = name
        self.user = 0
        self.recording = recording
        self._choices = choices
        self._gate = gate
        self._ids = ids
        self._known: dict[View, dict[str, Mapping[str, str]]] = {
            "list": {},
            "active": {},
            "user": {},
        }

    def register(self, name: str) -> int | None:
        """The id of a new user; None if no service made one in time."""
        for _ in _until_patience_ends():
            email = f"{self._random()}@example.com"
            user = {"name": name, "email": email, "password": "a password for the tests"}
            answer = self._answer("POST", "/users", user)
            if answer and answer.status in _CARRIED_OUT:
                return int(msgspec.json.decode(answer.body)["id"])
        return None

    def read(self, view: View, *, conditional: bool = False) -> bool:
        """Reads and records it; False if there was no answer that shows anything."""
        path = f"/users/{self.user}"
        if view != "user":
            path += f"/certificates?limit=1000{'&active=true' * (view == 'active')}"
        known = self._known[view]
        headers = {}
        if conditional and known:
            headers["If-None-Match"] = ", ".join(f'"{tag}"' for tag in [*known][-_KNOWN:])
        start = now()
        answer = self._answer("GET", path, None, headers)
        end = now()
        if answer is None or answer.status not in (200, 304, 404):
            return False
        flaw, shown = self._shown(view, answer, bool(headers))
        self.recording.keep(
            Read(
                self.recording.next_number(),
                self.name,
                start,
                end,
                view,
                shown,
                answer.revision,
                flaw=flaw,
                conditional=answer.status == 304,
            )
        )
        return True

    def read_at_last(self, view: View) -> None:
        """Reads, again and again until there is an answer."""
        for _ in _until_patience_ends():
            if self.read(view):
                return

    def write(self, target: Target, *, keyed: bool | None = None) -> tuple[Result, bytes]:
        """Writes and records it: what became of it, and the body of the answer.

        `keyed`: with an Idempotency-Key, and so repeated until the outcome is known; by chance if
        it is None.
        """
        number = self.recording.next_number()
        begun = Write(number, self.name, now(), None, *target[:4])
        self.recording.keep(begun)
        headers = {}
        if self._choices.random() < 1 / 3 if keyed is None else keyed:
            headers["Idempotency-Key"] = self._random()
        doubtful = False
        for _ in _until_patience_ends():
            try:
                answer = self._ask(target.method, target.path, target.content, headers)
            except NotSent:
                if not doubtful:
                    self.recording.drop(begun)
                    return "refused", b""
                continue
            except NotAnswered:
                doubtful = True
                if headers:
                    continue
                break
            if answer.status in _CARRIED_OUT:
                self.recording.keep(msgspec.structs.replace(begun, end=now()))
                return "done", answer.body
            is_certain = answer.status in _REFUSED or b"nothing was changed" in answer.body
            if is_certain and not doubtful:
                self.recording.drop(begun)
                if answer.status == 404:
                    self._record_absence(target, begun.start)
                return "refused", answer.body
            doubtful = doubtful or not is_certain
            if not headers:
                break
        return "unknown", b""

    def _record_absence(self, target: Target, start: int) -> None:
        """A 404 says that the certificate is not there, or that the user is not."""
        number = self.recording.next_number()
        if target.before is None or target.subject in (NAME, USER):
            self.recording.keep(Read(number, self.name, start, now(), "list", None))
            return
        self.recording.keep(
            Read(number, self.name, start, now(), "certificate", None, subject=target.subject)
        )

    def _shown(
        self, view: View, answer: Answer, asked: bool
    ) -> tuple[str, Mapping[str, str] | None]:
        """Why the page is none of this user's, if it is not; and the values it shows."""
        known = self._known[view]
        if answer.status == 404:
            return "", None
        if answer.status == 304:
            if not asked or answer.revision not in known:
                return f'304 for the revision "{answer.revision}", which was not asked for', {}
            return "", known[answer.revision]
        try:
            if view == "user":
                user = _user_of(answer.body)
                flaw = "" if user.id == self.user else f"this is user {user.id}"
                shown = {NAME: user.name}
            else:
                flaw, shown = self._certificates(_rows_of(answer.body))
        except msgspec.DecodeError as error:
            return f"the page cannot be read: {error}", {}
        known.pop(answer.revision, None)
        known[answer.revision] = shown
        if len(known) > _KNOWN:
            del known[next(iter(known))]
        return flaw, shown

    def _certificates(self, rows: Sequence[_Row]) -> tuple[str, dict[str, str]]:
        shown: dict[str, str] = {}
        flaw = ""
        last = 0
        for row in rows:
            label, _, version = row.body.partition(" ")
            if row.user_id != self.user:
                flaw = f"certificate {row.id} is user {row.user_id}'s"
            elif row.id <= last:
                flaw = f"certificate {row.id} comes after {last}"
            elif label in shown or self._ids.setdefault(label, row.id) != row.id:
                flaw = f"{label} is there twice"
            elif version != f"v{row.version}":
                flaw = f"{label} has version {row.version} and the text of {version}"
            last = row.id
            shown[label] = value_of(row.version, row.active)
        return flaw, shown

    def _answer(
        self, method: str, path: str, content: object, headers: Mapping[str, str] = {}
    ) -> Answer | None:
        try:
            return self._ask(method, path, content, headers)
        except (NotSent, NotAnswered):
            return None

    def _ask(self, method: str, path: str, content: object, headers: Mapping[str, str]) -> Answer:
        with self._gate():
            answer = self.http.ask(method, path, content, headers)
        status = answer.status
        is_asked_for = status == 304 and "If-None-Match" in headers
        if not (status in _CARRIED_OUT or status in _REFUSED or status == 503 or is_asked_for):
            self.wrong.append(f"{method} {path}: {status} {answer.body[:300]!r}")
        if status in _FOR_NOW:
            time.sleep(_PAUSE_SECONDS)
        return answer

    def _random(self) -> str:
        return str(uuid.UUID(int=self._choices.getrandbits(128)))


def _until_patience_ends() -> Iterator[int]:
    """Tries, with pauses between."""
    end = time.monotonic() + _PATIENCE_SECONDS
    number = 0
    while time.monotonic() < end:
        yield number
        number += 1
        time.sleep(_PAUSE_SECONDS)
