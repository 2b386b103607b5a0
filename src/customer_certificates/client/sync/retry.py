"""The retry state of an action that may fail for a while."""

import random
import time

from ...terminal import say

_FIRST_SECONDS = 0.5
_LONGEST_SECONDS = 60.0


class RetryState:
    """The retry state of one action. Logs when the action fails, and when it works again."""

    def __init__(self, action: str, longest: float = _LONGEST_SECONDS) -> None:
        """`action` is a phrase like "Writing files". `longest` is the longest retry delay."""
        self.action = action
        self.is_retried = True
        self._longest = longest
        self.detail = ""
        self.failures = 0
        self._consecutive = 0
        self._not_before = 0.0

    def __bool__(self) -> bool:
        return bool(self.detail)

    def __str__(self) -> str:
        return f"{self.action}: {self.detail}"

    @property
    def seconds(self) -> float:
        """The seconds until the next attempt, or 0 if the attempt is due now."""
        return max(0.0, self._not_before - time.monotonic())

    def fail(self, detail: str, retry_after: float | None = None) -> None:
        """Records a failure. Each failure in a row makes the retry delay longer."""
        self._consecutive += 1
        self.failures += 1
        seconds = retry_after
        if seconds is None:
            # Agents must not retry all at the same moment.
            seconds = _FIRST_SECONDS * 2 ** min(self._consecutive, 10) * random.uniform(0.5, 1)  # noqa: S311
        seconds = min(seconds, self._longest)
        self._not_before = time.monotonic() + seconds
        self.detail = detail
        retry = f" Retrying in {seconds:.1f} s." if self.is_retried else ""
        say(f"{self.action} failed: {detail.rstrip('.')}.{retry}")

    def try_again(self) -> None:
        """Makes the next attempt due now."""
        self._not_before = 0.0

    def succeed(self) -> None:
        """Records a success."""
        if self.detail:
            say(f"{self.action} works again.")
        self.detail = ""
        self._consecutive = 0
        self._not_before = 0.0
