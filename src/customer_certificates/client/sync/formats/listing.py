"""The file that lists what is served, of which the server's check accepts each version."""

from collections.abc import Callable, Collection

from .. import hooks
from ..files.folder import Folder
from ..hooks import CommandFailed, PublishingFailure
from ..state import State
from .layout import Layout

# Certificates that are left out before the check is left alone for a while.
_MOST_REFUSED = 8


class Listing:
    """Writes the listing. A listing that the check refuses is replaced by the one before.

    If the check refuses certificates, they are found and left out: each with as many checks as the
    logarithm (base 2) of the number of those that changed, or of all if none of these is to blame.
    """

    def __init__(
        self,
        folder: Folder,
        state: State,
        layout: Layout,
        check: str | None,
        refuse: Callable[[int, str], None],
    ) -> None:
        """`refuse` leaves a certificate out of everything until its version changes."""
        self._folder = folder
        self._state = state
        self._layout = layout
        self._check = check
        self._refuse = refuse
        self._place = layout.listing
        self._previous = f"{layout.listing}.previous"

    def recover(self) -> None:
        """Puts the listing before back if a process ended before the new one was accepted."""
        if self._folder.exists(self._previous):
            self._put_back()
            with self._state.transaction():
                self._state.note("listing_due", "yes")

    def publish(self) -> None:
        """Writes the listing if that is due, and has it checked.

        Raises PublishingFailure, OSError, sqlite3.Error; then the listing is the one before.
        """
        if self._check is None:
            if self._state.fact("listing_due"):
                self._write(())
        else:
            self._keep_previous()
            try:
                self._publish_accepted()
            except BaseException:
                self._put_back()
                raise
            self._folder.remove(self._previous)
        with self._state.transaction():
            self._state.checked_all()

    def _publish_accepted(self) -> None:
        reason = self._refusal(()) if self._state.fact("listing_due") else self._why_refused()
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
            # A certificate that is served in its place may not have been checked either.
            suspects += [one for one in self._state.unchecked() if one not in suspects]
            reason = self._refusal(())
            if reason is None:
                return
            if accepted == len(suspects):
                break
        raise PublishingFailure(reason)

    def _suspects(self, reason: str) -> list[int]:
        """The certificates among which are those that the check refuses.

        Raises PublishingFailure if it refuses the configuration without them too.
        """
        groups, served = [self._state.unchecked()], self._state.all_served()
        if len(served) > len(groups[0]):
            # An update of the server may refuse what it accepted before.
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
        """The index of the first suspect that the check refuses, and why.

        The first `accepted` suspects are accepted together, and all of them are refused.
        """
        refused = len(suspects)
        while refused - accepted > 1:
            middle = (accepted + refused) // 2
            if found := self._refusal(suspects[middle:]):
                refused, reason = middle, found
            else:
                accepted = middle
        return accepted, reason

    def _refusal(self, aside: Collection[int]) -> str | None:
        """Why the check refuses the listing without the certificates `aside`; None: accepted."""
        self._write(aside)
        return self._why_refused()

    def _why_refused(self) -> str | None:
        try:
            hooks.run(self._check)
        except CommandFailed as failure:
            return str(failure)
        return None

    def _write(self, aside: Collection[int]) -> None:
        try:
            with self._state.transaction():
                self._state.set_aside(aside)
            with self._folder.writer(self._place) as write:
                self._layout.write_listing(write)
            self._folder.switch()
        finally:
            with self._state.transaction():
                self._state.set_aside(())

    def _keep_previous(self) -> None:
        if not self._folder.exists(self._place):
            self._write(self._state.unchecked())
        self._folder.link(self._place, self._previous)
        self._folder.switch()

    def _put_back(self) -> None:
        """Makes the kept listing the listing again."""
        self._folder.link(self._previous, self._place)
        self._folder.switch()
        self._folder.remove(self._previous)
