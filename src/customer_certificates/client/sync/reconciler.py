"""Brings a folder in line with the feed and the current time."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from ...pki.selection import decide
from ...terminal import say
from .entries import Entry, Page
from .files.folder import Folder
from .formats.layout import ChangeSet, Layout
from .pairs import load_errors
from .state import Placed, State

# How long old files stay. HAProxy, for example, opens them late while it reads a long crt-list.
_LEFT_SECONDS = 60.0


class Damaged(Exception):  # noqa: N818
    """Files that the state records are missing."""


class Reconciler:
    """Updates files and state together. A change that is not in both is repeated."""

    def __init__(
        self, folder: Folder, state: State, layout: Layout, *, tells_a_server: bool
    ) -> None:
        """With `tells_a_server`, paths that change are queued for a running server."""
        self._folder = folder
        self._state = state
        self._layout = layout
        self._tells_a_server = tells_a_server

    def prepare(self, now: datetime) -> None:
        """Prepares the folder.

        Raises OSError or sqlite3.Error. Raises ValueError if the folder is unsuitable, and Damaged
        if the feed must be read from its beginning.
        """
        self._layout.prepare()
        self._folder.switch()
        with self._state.transaction():
            if not self._state.fact("clock"):
                self._note_clock(now)
                self._state.note("is_first", "yes")
            if not self._folder.exists(self._layout.listing):
                self._note_due(ChangeSet(selected=True, names=True))
        if not all(self._folder.exists(path) for path in self._state.paths()):
            self.read_again()
            raise Damaged("Files are missing, so the agent fetches all certificates again.")

    def read_again(self) -> None:
        """Restarts the feed from its beginning. All files stay until it is complete."""
        with self._state.transaction():
            self._state.note("cursor", "")

    def is_publishable(self) -> bool:
        """Returns whether the listing may be written.

        An existing listing stays until the first snapshot is complete. Until then, the state does
        not know everything that is served.
        """
        is_first = bool(self._state.fact("is_first"))
        return not (is_first and self._folder.exists(self._layout.listing))

    def apply(self, page: Page, now: datetime) -> None:
        """Applies a page of the feed.

        A version that a server cannot load is not written, and the previous version stays. Raises
        OSError or sqlite3.Error. The page is then not applied.
        """
        reasons = self._load_errors(page.changes)
        with self._state.transaction():
            if page.reset:
                self._state.note("snapshot", str(self._snapshot() + 1))
                self._state.note("is_snapshot", "yes")
                self._state.admit_unknown()
            names, entries, gone = set[str](), dict[int, Entry](), set[int]()
            for entry in page.changes:
                number = entry.certificate_id
                names.update(self._reserve(entry, is_refused=entry in reasons))
                if reason := reasons.get(entry):
                    self._state.name_again(number, self._snapshot())
                    self._refuse(
                        number, entry.version, entry.fingerprint_sha256 or "", reason, entry.names
                    )
                    continue
                if self._is_version_before_kept(entry):
                    self._state.name_again(number, self._snapshot())
                    continue
                names.update(self._state.hostnames_of(number))
                if entry.is_served:
                    names.update(entry.names)
                    self._take(entry, now)
                    entries[number] = entry
                    gone.discard(number)
                else:
                    entries.pop(number, None)
                    gone.add(number)
            if self._state.fact("is_snapshot") and not page.more:
                stale = self._state.not_named_since(self._snapshot())
                gone.update(stale)
                for number in stale:
                    names.update(self._state.hostnames_of(number))
                names.update(self._state.release_not_named_since(self._snapshot()))
                self._state.note("is_snapshot", "")
                if self._state.fact("is_first"):
                    # A listing from an earlier state may be wrong.
                    self._state.note("is_first", "")
                    self._note_due(ChangeSet(selected=True, names=True))
            self._drop(gone, now)
            self._settle(names, entries, gone, now)
            self._state.note("cursor", page.cursor)

    def refuse(self, certificate_id: int, reason: str, now: datetime) -> None:
        """Leaves out a version of a certificate that the server rejects.

        The previous version stays if the server accepted it and its file still exists. Raises the
        same errors as `apply`.
        """
        with self._state.transaction():
            if placed := self._state.placed(certificate_id):
                names = {*self._state.hostnames_of(certificate_id)}
                self._refuse(certificate_id, placed.version, placed.fingerprint, reason, names)
                if self._put_back(placed, now):
                    names.update(self._state.hostnames_of(certificate_id))
                self._settle(names, {}, {certificate_id}, now)

    def _put_back(self, refused: Placed, now: datetime) -> bool:
        path = self._state.accepted_path(refused.id)
        # If both have one path, the file is the refused version.
        if path is None or path == refused.path or not self._folder.exists(path):
            return False
        self._state.put_back(refused.id, self._snapshot())
        self._state.keep([path])
        self._leave([refused.path], now)
        self._note_due(ChangeSet(contents=True))
        return True

    def keep_time(self, now: datetime) -> bool:
        """Applies certificates' validity periods. Returns whether anything has changed.

        Raises the same errors as `apply`.
        """
        noted = datetime.fromisoformat(self._state.fact("clock"))
        # If the clock was set back, expired certificates become valid again.
        names = self._state.names_changed_between(min(noted, now), max(noted, now))
        if names:
            with self._state.transaction():
                self._settle(names, {}, set(), now)
                self._note_clock(now)
        return bool(names)

    def clear(self, now: datetime) -> None:
        """Removes files that have been unused for a while. Raises OSError, sqlite3.Error."""
        paths = self._state.leftovers(now.timestamp())
        for path in paths:
            self._folder.remove(path)
        if paths:
            with self._state.transaction():
                self._state.keep(paths)

    def _load_errors(self, changes: Iterable[Entry]) -> dict[Entry, str]:
        """Returns the new certificates that a server cannot load, and why.

        Certificates in the folder were tested before.
        """
        new = [entry for entry in changes if entry.is_served and not self._is_placed(entry)]
        reasons = zip(new, load_errors(entry.pem for entry in new), strict=True)
        found = (
            (entry, error or self._layout.names_error(entry.names)) for entry, error in reasons
        )
        return {entry: error for entry, error in found if error}

    def _is_placed(self, entry: Entry) -> bool:
        placed = self._state.placed(entry.certificate_id)
        return bool(
            placed
            and (placed.version, placed.fingerprint) == (entry.version, entry.fingerprint_sha256)
        )

    def _is_version_before_kept(self, entry: Entry) -> bool:
        """Returns whether the server rejected this version and the previous one stayed."""
        number, fingerprint = entry.certificate_id, entry.fingerprint_sha256 or ""
        return bool(
            entry.is_served
            and self._state.is_refused(number, entry.version, fingerprint)
            and self._state.placed(number)
            and not self._is_placed(entry)
        )

    def _refuse(
        self, number: int, version: int, fingerprint: str, reason: str, names: Iterable[str]
    ) -> None:
        if refusal := self._state.refuse(number, version, fingerprint, reason, names):
            say(str(refusal))

    def _reserve(self, entry: Entry, *, is_refused: bool) -> set[str]:
        """Records the names reserved by a certificate that is not served.

        Other users' certificates are not served for them. Returns the names whose reservation may
        have changed.
        """
        after = set(entry.reserved_names) if is_refused or not entry.is_served else set()
        before = self._state.reserve(entry.certificate_id, entry.user_id, after, self._snapshot())
        return after.union(before)

    def _snapshot(self) -> int:
        return int(self._state.fact("snapshot") or 0)

    def _take(self, entry: Entry, now: datetime) -> None:
        before = self._state.placed(entry.certificate_id)
        if not self._state.is_refused(
            entry.certificate_id, entry.version, entry.fingerprint_sha256 or ""
        ):
            self._state.admit([entry.certificate_id])
        self._state.put(entry, before.path if before else "", self._snapshot(), now)

    def _drop(self, certificate_ids: Collection[int], now: datetime) -> None:
        self._state.admit(certificate_ids)
        for number in certificate_ids:
            if placed := self._state.placed(number):
                self._state.forget(number)
                self._state.drop_accepted(number)
                self._leave([placed.path], now)

    def _settle(
        self, names: Iterable[str], entries: Mapping[int, Entry], gone: Iterable[int], now: datetime
    ) -> None:
        """Selects the certificates for `names` again, and updates files and state."""
        settled = ChangeSet()
        touched = {*entries, *gone}
        kept_free = set[str]()
        selected = {below: dict[str, int]() for name in names for below in self._concerned(name)}
        for name in selected:
            before = self._state.selected(name)
            decision = decide(name, self._state.candidates(name), now)
            after = {
                kind: candidate.certificate_id for kind, candidate in decision.selected.items()
            }
            if not self._layout.can_serve(name):
                after.clear()
            others = [
                rejection.candidate
                for rejection in decision.rejected
                if rejection.reason == "other_owner"
            ]
            if others and not after:
                kept_free.add(name)
            is_new = self._state.set_kept_free(name, name in kept_free)
            if before != after or is_new:
                self._state.set_selected(name, before, after)
                touched.update(before.values(), after.values())
                # Other users' wildcards that cover the name may no longer apply to it.
                touched.update(candidate.certificate_id for candidate in others)
                settled.selected = True
                settled.names |= is_new or bool(before) != bool(after)
            selected[name] = after
        try:
            placed = {number: self._place(number, entries.get(number), now) for number in touched}
            for name, served in selected.items():
                found = {k: placed.get(one) or self._state.placed(one) for k, one in served.items()}
                left = self._layout.point(
                    name, {k: one for k, one in found.items() if one}, keeps_free=name in kept_free
                )
                self._leave(left, now)
            settled.contents = any(self._state.is_served(number) for number in entries)
            self._note_due(settled)
            self._state.to_report(touched)
            self._state.note_unchecked(touched)
            self._folder.switch()
        except BaseException:
            self._folder.forget()
            raise

    def _concerned(self, name: str) -> Iterable[str]:
        """Returns `name` and, for a wildcard, the recorded names that it covers."""
        return (name, *self._state.names_below(name)) if name.startswith("*.") else (name,)

    def _place(self, number: int, entry: Entry | None, now: datetime) -> Placed | None:
        """Puts a certificate's file in its place. Returns None if the certificate is gone."""
        placed = self._state.placed(number)
        if placed is None:
            return None
        path = self._layout.path(placed, lambda: self._state.filters_of(number))
        if entry:
            self._folder.write(path, entry.pem)
        elif path != placed.path:
            self._folder.link(placed.path, path)
        if path != placed.path:
            self._state.move(number, path)
            self._state.keep([path])
            if placed.path:
                self._leave([placed.path], now)
        if self._tells_a_server:
            self._state.queue([path])
        return placed._replace(path=path)

    def _leave(self, paths: Collection[str], now: datetime) -> None:
        self._state.leave(paths, now.timestamp() + _LEFT_SECONDS)
        if self._tells_a_server:
            self._state.queue(paths)

    def _note_due(self, settled: ChangeSet) -> None:
        if self._layout.is_listing_due(settled):
            self._state.note("listing_due", "yes")
        if self._layout.is_reload_due(settled):
            self._state.note("reload_due", "yes")

    def _note_clock(self, now: datetime) -> None:
        self._state.note("clock", now.isoformat())
