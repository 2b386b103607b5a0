"""Counts recent failed sign-ins, by account and by address."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

from ...errors import TooManyRequests
from ...gateways.admission.client_networks import client_network
from ...gateways.cache.counters import Count, Counters
from ...models import email_key

_WINDOW_SECONDS = 15 * 60
_MOST_FAILURES = 10
# Without Redis each process counts by itself, and there may be several.
_MOST_FAILURES_ALONE = 5

Attempt = dict[str, Count]


@dataclass(frozen=True, slots=True)
class LoginThrottle:
    """Counts every attempt before the password is checked, and undoes it after success.

    Concurrent attempts are thus limited like consecutive ones.
    """

    counters: Counters
    clock: Callable[[], datetime]

    def begin(self, email: str, peer: str) -> Attempt:
        """Counts an attempt as if it had failed.

        Raises TooManyRequests after too many failures for this account or from this address.
        """
        attempt = {}
        for name in (f"peer:{client_network(peer)}", f"account:{_digest(email_key(email))}"):
            count = attempt[name] = self.counters.add(name, _WINDOW_SECONDS, self.clock())
            if count.number > (_MOST_FAILURES if count.shared else _MOST_FAILURES_ALONE):
                raise TooManyRequests(
                    "Too many failed sign-ins for this account or from this address. "
                    "Retry after the delay in Retry-After.",
                    retry_after=count.seconds_left,
                )
        return attempt

    def undo(self, attempt: Attempt) -> None:
        """Removes the attempt from the count after a success."""
        for name, count in attempt.items():
            self.counters.undo(name, count)


def _digest(email: str) -> str:
    """Hides from readers of Redis who signed in."""
    return blake2b(email.encode(), digest_size=16).hexdigest()
