"""Something that fails for a while, and is tried again."""

import random
import time

from ...terminal import say

_FIRST_SECONDS = 0.5
_LONGEST_SECONDS = 60.0


class Trouble:
    """One thing that may fail: it is said when it does, and when that is over."""

    def __init__(self, what: str, longest: float = _LONGEST_SECONDS) -> None:
        """`what` is being done, as «Writing files»; `longest` is the most seconds between two
        attempts."""
        self.what = what
        self._longest = longest
        self.detail = ""
        self.failures = 0
        self._in_a_row = 0
        self._not_before = 0.0

    def __bool__(self) -> bool:
        return bool(self.detail)

    def __str__(self) -> str:
        return f"{self.what}: {self.detail}"

    @property
    def seconds(self) -> float:
        """How long not to try it again; 0 where it may be tried."""
        return max(0.0, self._not_before - time.monotonic())

    def begin(self, detail: str, retry_after: float | None = None) -> None:
        """It failed, for the reason `detail`. Each time in a row it is left alone for longer."""
        self._in_a_row += 1
        self.failures += 1
        seconds = retry_after
        if seconds is None:
            # Not all agents at the same moment.
            seconds = _FIRST_SECONDS * 2 ** min(self._in_a_row, 10) * random.uniform(0.5, 1)  # noqa: S311
        seconds = min(seconds, self._longest)
        self._not_before = time.monotonic() + seconds
        self.detail = detail
        say(f"{self.what} failed: {detail.rstrip('.')}. Trying again in {seconds:.1f} s.")

    def try_again(self) -> None:
        """There is reason to believe that it will not fail again."""
        self._not_before = 0.0

    def end(self) -> None:
        """It succeeded."""
        if self.detail:
            say(f"{self.what} works again.")
        self.detail = ""
        self._in_a_row = 0
        self._not_before = 0.0
