"""The listing of served certificates, checked by the server."""

from collections.abc import Callable, Collection

from .. import hooks
from ..files.folder import Folder
from ..hooks import CommandFailed, PublishingFailure
from ..state.state import State
from .layout import Layout

# The maximum number of rejected certificates to find before a pause.
_MOST_REFUSED = 8


class Listing:
    """Writes the listing, and restores the previous one if the check rejects it.

    Rejected certificates are found by binary search and left out. Each takes log2(n) checks. The
    search covers the changed certificates, or all of them if none of these is rejected.
    """

    def __init__(
        self,
        folder: Folder,
        state: State,
        layout: Layout,
        check: str | None,
        refuse: Callable[[int, str], None],
    ) -> None:
        """`refuse` leaves out a certificate until its version changes."""
        self._folder = folder
        self._state = state
        self._layout = layout
        self._check = check
        self._refuse = refuse
        self._path = layout.listing
        self._previous = f"{layout.listing}.previous"

    def recover(self) -> None:
        """Restores the previous listing if a process ended before its check."""
        if self._folder.exists(self._previous):
            self._restore_previous()
            with self._state.transaction():
                self._state.set_fact("listing_due", "yes")

    def publish(self) -> None:
        """Writes the listing if it is due, and checks it.

        Raises PublishingFailure, OSError, sqlite3.Error. The previous listing is then restored.
        """
        if self._check is None:
            if self._state.fact("listing_due"):
                self._write(())
        else:
            self._keep_previous()
            try:
                self._publish_accepted()
            except BaseException:
                self._restore_previous()
                raise
            self._folder.remove(self._previous)
        with self._state.transaction():
            self._state.refusals.accept_all()

    def _publish_accepted(self) -> None:
        reason = self._refusal(()) if self._state.fact("listing_due") else self._check_error()
        if reason is None:
            return
        suspects = self._suspects(reason)
        accepted = 0
        for _ in range(_MOST_REFUSED):
            accepted, reason = self._find(suspects, accepted, reason)
            if own := self._refusal(suspects[accepted:]):
                # The server's configuration changed during the search.
                raise PublishingFailure(own)
            self._refuse(suspects.pop(accepted), reason)
            # The certificate that is now served instead may be unchecked too.
            unchecked = self._state.refusals.unchecked()
            suspects += [number for number in unchecked if number not in suspects]
            reason = self._refusal(())
            if reason is None:
                return
            if accepted == len(suspects):
                break
        raise PublishingFailure(reason)

    def _suspects(self, reason: str) -> list[int]:
        """Returns the certificates that may be rejected by the check.

        Raises PublishingFailure if the check rejects the configuration without them too.
        """
        groups, served = [self._state.refusals.unchecked()], self._state.selection.all_served()
        if len(served) > len(groups[0]):
            # An updated server may reject certificates that it accepted before.
            groups.append(served)
        for suspects in filter(None, groups):
            own = self._refusal(suspects)
            if own is None:
                return suspects
            reason = own
        raise PublishingFailure(
            "The server rejects its configuration even without the certificates. Fix the "
            f"configuration: {reason}"
        )

    def _find(self, suspects: list[int], accepted: int, reason: str) -> tuple[int, str]:
        """Returns the index of the first rejected suspect, and the reason.

        The check accepts the first `accepted` suspects together, and rejects all suspects together.
        """
        refused = len(suspects)
        while refused - accepted > 1:
            middle = (accepted + refused) // 2
            if found := self._refusal(suspects[middle:]):
                refused, reason = middle, found
            else:
                accepted = middle
        return accepted, reason

    def _refusal(self, excluded: Collection[int]) -> str | None:
        """Returns why the check rejects the listing without `excluded`, or None."""
        self._write(excluded)
        return self._check_error()

    def _check_error(self) -> str | None:
        try:
            hooks.run(self._check)
        except CommandFailed as failure:
            return str(failure)
        return None

    def _write(self, excluded: Collection[int]) -> None:
        try:
            with self._state.transaction():
                self._state.selection.exclude(excluded)
            with self._folder.writer(self._path) as write:
                self._layout.write_listing(write)
            self._folder.switch()
        finally:
            with self._state.transaction():
                self._state.selection.exclude(())

    def _keep_previous(self) -> None:
        if not self._folder.exists(self._path):
            self._write(self._state.refusals.unchecked())
        self._folder.link(self._path, self._previous)
        self._folder.switch()

    def _restore_previous(self) -> None:
        self._folder.link(self._previous, self._path)
        self._folder.switch()
        self._folder.remove(self._previous)
