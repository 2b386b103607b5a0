"""Brings a folder in line with the feed and the current time."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ...pki.selection import decide
from ...terminal import say
from .entries import Entry, Page
from .files.folder import Folder
from .formats.layout import ChangeSet, Layout
from .pairs import load_errors
from .state.certificates import Placed
from .state.state import State

# How long unused files stay. HAProxy, for example, opens them late while it reads a long crt-list.
_REMOVAL_DELAY_SECONDS = 60.0


class Damaged(Exception):  # noqa: N818
    """Files that the state records are missing."""


@dataclass(slots=True)
class _Changes:
    """Changes to apply together.

    `names`: hostnames whose certificates are selected again. `entries`: new versions by
    certificate. `removed`: certificates to remove. `touched`: certificates whose files, hostnames
    or reports may change.
    """

    names: set[str] = field(default_factory=set)
    entries: dict[int, Entry] = field(default_factory=dict)
    removed: set[int] = field(default_factory=set)
    touched: set[int] = field(default_factory=set)
    effects: ChangeSet = field(default_factory=ChangeSet)


class Reconciler:
    """Updates files and state together. A change that is not in both is repeated."""

    def __init__(self, folder: Folder, state: State, layout: Layout, *, has_runtime: bool) -> None:
        """With `has_runtime`, changed paths are queued for a running server."""
        self._folder = folder
        self._state = state
        self._certificates, self._selection = state.certificates, state.selection
        self._layout = layout
        self._has_runtime = has_runtime

    def prepare(self, now: datetime) -> None:
        """Prepares the folder.

        Raises OSError or sqlite3.Error. Raises ValueError if the folder is unsuitable, and Damaged
        if the feed must be read from its beginning.
        """
        self._layout.prepare()
        self._folder.switch()
        with self._state.transaction():
            if not self._state.fact("clock"):
                self._set_clock(now)
                self._state.set_fact("is_first", "yes")
            if not self._folder.exists(self._layout.listing):
                self._set_due(ChangeSet(selected=True, names=True))
        if not all(self._folder.exists(path) for path in self._certificates.paths()):
            self.restart_feed()
            raise Damaged("Files are missing, so the agent fetches all certificates again.")

    def restart_feed(self) -> None:
        """Restarts the feed from its beginning. All files stay until it is complete."""
        with self._state.transaction():
            self._state.set_fact("cursor", "")

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
        changes = _Changes()
        with self._state.transaction():
            if page.reset:
                self._state.set_fact("snapshot", str(self._snapshot() + 1))
                self._state.set_fact("is_snapshot", "yes")
                self._state.refusals.delete_unplaced()
            for entry in page.changes:
                self._apply_entry(entry, reasons.get(entry), changes, now)
            if self._state.fact("is_snapshot") and not page.more:
                self._end_snapshot(changes)
            self._remove(changes.removed, now)
            self._update(changes, now)
            self._state.set_fact("cursor", page.cursor)

    def refuse(self, certificate_id: int, reason: str, now: datetime) -> None:
        """Leaves out a version of a certificate that the server rejects.

        The previous version stays if the server accepted it and its file still exists. Raises the
        same errors as `apply`.
        """
        with self._state.transaction():
            if placed := self._certificates.placed(certificate_id):
                names = {*self._certificates.hostnames_of(certificate_id)}
                self._refuse(certificate_id, placed.version, placed.fingerprint, reason, names)
                if self._restore_accepted(placed, now):
                    names.update(self._certificates.hostnames_of(certificate_id))
                self._update(_Changes(names, touched={certificate_id}), now)

    def apply_validity(self, now: datetime) -> bool:
        """Applies certificates' validity periods. Returns whether anything has changed.

        Raises the same errors as `apply`.
        """
        before = datetime.fromisoformat(self._state.fact("clock"))
        # If the clock was set back, expired certificates become valid again.
        names = self._certificates.names_changed_between(min(before, now), max(before, now))
        if names:
            with self._state.transaction():
                self._update(_Changes(set(names)), now)
                self._set_clock(now)
        return bool(names)

    def remove_unused_files(self, now: datetime) -> None:
        """Removes files that have been unused for a while. Raises OSError, sqlite3.Error."""
        paths = self._state.removals.until(now.timestamp())
        for path in paths:
            self._folder.remove(path)
        if paths:
            with self._state.transaction():
                self._state.removals.cancel(paths)

    def _apply_entry(
        self, entry: Entry, load_error: str | None, changes: _Changes, now: datetime
    ) -> None:
        number = entry.certificate_id
        changes.names.update(self._reserve(entry, is_refused=load_error is not None))
        if load_error:
            self._certificates.add_to_snapshot(number, self._snapshot())
            fingerprint = entry.fingerprint_sha256 or ""
            self._refuse(number, entry.version, fingerprint, load_error, entry.names)
        elif self._is_previous_kept(entry):
            self._certificates.add_to_snapshot(number, self._snapshot())
        else:
            changes.names.update(self._certificates.hostnames_of(number))
            if entry.is_served:
                changes.names.update(entry.names)
                self._put(entry, now)
                changes.entries[number] = entry
                changes.removed.discard(number)
            else:
                changes.entries.pop(number, None)
                changes.removed.add(number)

    def _end_snapshot(self, changes: _Changes) -> None:
        """Adds the certificates and reservations that are not part of the snapshot."""
        outside = self._certificates.outside(self._snapshot())
        changes.removed.update(outside)
        for number in outside:
            changes.names.update(self._certificates.hostnames_of(number))
        changes.names.update(self._state.reservations.delete_outside(self._snapshot()))
        self._state.set_fact("is_snapshot", "")
        if self._state.fact("is_first"):
            # A listing from an earlier state may be wrong.
            self._state.set_fact("is_first", "")
            self._set_due(ChangeSet(selected=True, names=True))

    def _restore_accepted(self, refused: Placed, now: datetime) -> bool:
        path = self._certificates.accepted_path(refused.id)
        # If both have one path, the file is the refused version.
        if path is None or path == refused.path or not self._folder.exists(path):
            return False
        self._certificates.restore_accepted(refused.id, self._snapshot())
        self._state.removals.cancel([path])
        self._schedule_removal([refused.path], now)
        self._set_due(ChangeSet(contents=True))
        return True

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
        version = entry.version, entry.fingerprint_sha256
        placed = self._certificates.placed(entry.certificate_id)
        return placed is not None and (placed.version, placed.fingerprint) == version

    def _is_refused(self, entry: Entry) -> bool:
        fingerprint = entry.fingerprint_sha256 or ""
        return self._state.refusals.has(entry.certificate_id, entry.version, fingerprint)

    def _is_previous_kept(self, entry: Entry) -> bool:
        """Returns whether the server rejected this version and the previous one stayed."""
        return (
            entry.is_served
            and self._is_refused(entry)
            and self._certificates.placed(entry.certificate_id) is not None
            and not self._is_placed(entry)
        )

    def _refuse(
        self, number: int, version: int, fingerprint: str, reason: str, names: Iterable[str]
    ) -> None:
        if refusal := self._state.refusals.add(number, version, fingerprint, reason, names):
            say(str(refusal))

    def _reserve(self, entry: Entry, *, is_refused: bool) -> set[str]:
        """Records the names reserved by a certificate that is not served.

        Other users' certificates are not served for them. Returns the names whose reservation may
        have changed.
        """
        names = set(entry.reserved_names) if is_refused or not entry.is_served else set()
        return names.union(
            self._state.reservations.replace(
                entry.certificate_id, entry.user_id, names, self._snapshot()
            )
        )

    def _snapshot(self) -> int:
        return int(self._state.fact("snapshot") or 0)

    def _put(self, entry: Entry, now: datetime) -> None:
        before = self._certificates.placed(entry.certificate_id)
        if not self._is_refused(entry):
            self._state.refusals.delete([entry.certificate_id])
        self._certificates.put(entry, before.path if before else "", self._snapshot(), now)

    def _remove(self, certificate_ids: Collection[int], now: datetime) -> None:
        self._state.refusals.delete(certificate_ids)
        for number in certificate_ids:
            if placed := self._certificates.placed(number):
                self._certificates.forget(number)
                self._certificates.drop_accepted(number)
                self._schedule_removal([placed.path], now)

    def _update(self, changes: _Changes, now: datetime) -> None:
        """Selects the certificates for the changed names again, and updates files and state."""
        changes.touched.update(changes.entries, changes.removed)
        names = {below for name in changes.names for below in self._concerned(name)}
        selected = {name: self._select(name, changes, now) for name in names}
        try:
            placed = {
                number: self._place(number, changes.entries.get(number), now)
                for number in changes.touched
            }
            for name, (certificates, is_kept_free) in selected.items():
                self._link(name, certificates, placed, now, is_kept_free=is_kept_free)
            changes.effects.contents = any(map(self._selection.is_served, changes.entries))
            self._set_due(changes.effects)
            self._state.reports.add(changes.touched)
            self._state.refusals.add_unchecked(changes.touched)
            self._folder.switch()
        except BaseException:
            self._folder.forget()
            raise

    def _concerned(self, name: str) -> Iterable[str]:
        """Returns `name` and, for a wildcard, the recorded names that it covers."""
        is_wildcard = name.startswith("*.")
        return (name, *self._state.reservations.names_below(name)) if is_wildcard else (name,)

    def _select(self, name: str, changes: _Changes, now: datetime) -> tuple[dict[str, int], bool]:
        """Selects the certificates for `name`, and records the effects in `changes`.

        Returns the certificates by key type, and whether the name is kept free.
        """
        before = self._selection.selected(name)
        decision = decide(name, self._selection.candidates(name), now)
        selected = decision.selected if self._layout.can_serve(name) else {}
        after = {key_type: candidate.certificate_id for key_type, candidate in selected.items()}
        others = [
            rejection.candidate.certificate_id
            for rejection in decision.rejected
            if rejection.reason == "other_owner"
        ]
        is_kept_free = bool(others) and not after
        is_new = self._state.reservations.set_kept_free(name, is_kept_free)
        if before != after or is_new:
            self._selection.set_selected(name, before, after)
            changes.touched.update(before.values(), after.values())
            # Other users' wildcards that cover the name may no longer apply to it.
            changes.touched.update(others)
            changes.effects.selected = True
            changes.effects.names |= is_new or bool(before) != bool(after)
        return after, is_kept_free

    def _link(
        self,
        name: str,
        selected: Mapping[str, int],
        placed: Mapping[int, Placed | None],
        now: datetime,
        *,
        is_kept_free: bool,
    ) -> None:
        found = {
            key_type: placed.get(number) or self._certificates.placed(number)
            for key_type, number in selected.items()
        }
        files = {key_type: certificate for key_type, certificate in found.items() if certificate}
        unused = self._layout.point(name, files, keeps_free=is_kept_free)
        self._schedule_removal(unused, now)

    def _place(self, number: int, entry: Entry | None, now: datetime) -> Placed | None:
        """Puts a certificate's file in its place. Returns None if the certificate was removed."""
        placed = self._certificates.placed(number)
        if placed is None:
            return None
        path = self._layout.path(placed, lambda: self._selection.filters_of(number))
        if entry:
            self._folder.write(path, entry.pem)
        elif path != placed.path:
            self._folder.link(placed.path, path)
        if path != placed.path:
            self._certificates.move(number, path)
            self._state.removals.cancel([path])
            if placed.path:
                self._schedule_removal([placed.path], now)
        if self._has_runtime:
            self._state.runtime_queue.add([path])
        return placed._replace(path=path)

    def _schedule_removal(self, paths: Collection[str], now: datetime) -> None:
        self._state.removals.schedule(paths, now.timestamp() + _REMOVAL_DELAY_SECONDS)
        if self._has_runtime:
            self._state.runtime_queue.add(paths)

    def _set_due(self, effects: ChangeSet) -> None:
        if self._layout.is_listing_due(effects):
            self._state.set_fact("listing_due", "yes")
        if self._layout.is_reload_due(effects):
            self._state.set_fact("reload_due", "yes")

    def _set_clock(self, now: datetime) -> None:
        self._state.set_fact("clock", now.isoformat())
