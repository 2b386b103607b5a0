"""Operations of clients: writes and reads of one user, and the state that they act on."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, NamedTuple, Self

import msgspec

NAME = "name"
USER = "user"

# "list": all certificates. "active": the list's `active=true`. "user": the user itself.
# "certificate": one of them, which is all that a 404 to a write tells about.
View = Literal["list", "active", "user", "certificate"]
Certificates = frozenset[tuple[str, str]]


def value_of(version: int, active: bool) -> str:
    """The value of a certificate, as histories have it."""
    return f"v{version} {'active' if active else 'inactive'}"


class State(NamedTuple):
    """A user: its name (None: it is deleted), and each certificate's label with its value."""

    name: str | None
    certificates: Certificates


class Write(msgspec.Struct, frozen=True, tag="write"):
    """A write that may have changed something; `end` is None if its outcome is unknown.

    `subject` is a certificate's label, NAME or USER. It goes from value `before` to `after`; None
    is the value of a certificate that does not exist, and of a deleted user.
    """

    number: int
    client: str
    start: int
    end: int | None
    action: str
    subject: str
    before: str | None
    after: str | None

    def apply(self, state: State, *, forced: bool = False) -> State | None:
        """The state after this write; None if it is impossible in `state`.

        `forced`: it is possible, whatever the certificate's value was.
        """
        if state.name is None:
            return state if forced else None
        if self.subject == USER:
            return State(None, frozenset())
        if self.subject == NAME:
            return State(self.after, state.certificates)
        certificates = state.certificates
        if self.before is not None:
            if (self.subject, self.before) not in certificates and not forced:
                return None
            certificates -= {(self.subject, self.before)}
        elif not forced and any(label == self.subject for label, _ in certificates):
            return None
        if self.after is not None:
            certificates |= {(self.subject, self.after)}
        return State(state.name, certificates)


class Read(msgspec.Struct, frozen=True, tag="read"):
    """A read that was answered: the values it showed, None for a 404.

    `subject` is the certificate's label if the view is "certificate". `flaw` says why the page
    cannot be one of this user's. `conditional`: the answer was a 304.
    """

    number: int
    client: str
    start: int
    end: int
    view: View
    shown: Mapping[str, str] | None
    revision: str = ""
    subject: str = ""
    flaw: str = ""
    conditional: bool = False

    def matches(self, state: State) -> bool:
        """Whether this read shows `state`."""
        if self.view == "certificate":
            return all(label != self.subject for label, _ in state.certificates)
        if self.shown is None or state.name is None:
            return self.shown is None and state.name is None
        if self.view == "user":
            return self.shown[NAME] == state.name
        certificates = state.certificates
        return _items(self) == (certificates if self.view == "list" else active_of(certificates))

    def shows(self, write: Write) -> bool:
        """Whether this read is possible with `write` as its subject's last write."""
        if write.subject == USER:
            return self.shown is None or self.view == "certificate"
        if self.view == "certificate":
            return self.subject == write.subject and write.after is None
        if self.shown is None:
            return False
        if (write.subject == NAME) != (self.view == "user"):
            return False
        after = write.after
        if self.view == "active" and after is not None and not after.endswith(" active"):
            after = None
        return self.shown.get(write.subject) == after

    def about(self, subject: str) -> Self:
        """This read as if the list had no other certificate than `subject`."""
        if self.view in ("user", "certificate") or self.shown is None:
            return self
        shown = {label: value for label, value in self.shown.items() if label == subject}
        return msgspec.structs.replace(self, shown=shown, revision="")


Operation = Write | Read


@lru_cache(4096)
def active_of(certificates: Certificates) -> Certificates:
    """The active ones of `certificates`."""
    return frozenset(item for item in certificates if item[1].endswith(" active"))


# By the read itself: its hash would be that of all its fields.
_ITEMS: dict[int, tuple[Read, Certificates]] = {}
_MOST_ITEMS = 4096


def _items(read: Read) -> Certificates:
    kept = _ITEMS.get(id(read))
    if kept is None or kept[0] is not read:
        if len(_ITEMS) >= _MOST_ITEMS:
            _ITEMS.clear()
        kept = _ITEMS[id(read)] = read, frozenset((read.shown or {}).items())
    return kept[1]
