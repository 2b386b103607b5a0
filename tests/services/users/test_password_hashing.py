import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from threading import Event, Thread

import pytest

from customer_certificates.config import LEAST_PASSWORD_COST
from customer_certificates.crypto.passwords import PasswordHashes
from customer_certificates.errors import Unavailable
from customer_certificates.gateways.metrics import Metrics
from customer_certificates.services.users.password_hashing import Passwords

WAIT_SECONDS = 30
# <linux/prctl.h>, <linux/capability.h>
_PR_CAPBSET_DROP = 24
_CAP_SYS_NICE = 23


class SlowPassword(str):
    """A password whose hashing ends when `release` is set; `begun` is set when it begins."""

    def __new__(cls, text: str = "slow") -> "SlowPassword":
        password = super().__new__(cls, text)
        password.begun = Event()
        password.release = Event()
        return password

    begun: Event
    release: Event

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        self.begun.set()
        assert self.release.wait(WAIT_SECONDS)
        return super().encode(encoding, errors)


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    """Returns a hasher with room for one request."""
    passwords = Passwords(LEAST_PASSWORD_COST, Metrics(None), waiting=1)
    yield passwords
    passwords.close()


def test_hashed_and_checked(passwords: Passwords) -> None:
    made = passwords.hash("x")

    assert passwords.check(made, "x") == (True, None)
    assert passwords.check(made, "y") == (False, None)


def test_an_outdated_hash_is_replaced(passwords: Passwords) -> None:
    memory, passes, lanes = LEAST_PASSWORD_COST
    made = PasswordHashes((memory, passes + 1, lanes)).make("x")

    matches, better = passwords.check(made, "x")
    assert matches
    assert better is not None
    assert passwords.check(better, "x") == (True, None)
    assert passwords.check(made, "y") == (False, None)


def test_nobody_waits_where_there_is_no_room(passwords: Passwords) -> None:
    slow = SlowPassword()
    made: list[str] = []
    request = Thread(target=lambda: made.append(passwords.hash(slow)))
    request.start()
    assert slow.begun.wait(WAIT_SECONDS)

    with pytest.raises(Unavailable) as hashing:
        passwords.hash("x")
    with pytest.raises(Unavailable) as checking:
        passwords.check("", "x")
    slow.release.set()
    request.join()

    assert (hashing.value.retry_after, checking.value.retry_after) == (1, 1)
    # The earlier request was served, and its slot is free again.
    assert passwords.check(made[0], "slow") == (True, None)


def test_a_place_is_free_again_after_a_failure(passwords: Passwords) -> None:
    for _ in range(3):
        with pytest.raises(UnicodeEncodeError):
            passwords.hash("\ud800")

    assert passwords.check(passwords.hash("x"), "x") == (True, None)


_AT_A_HIGHER_NICENESS = f"""
from customer_certificates.gateways.metrics import Metrics
from customer_certificates.services.users.password_hashing import Passwords

passwords = Passwords({LEAST_PASSWORD_COST}, Metrics(None), waiting=1)
assert passwords.check(passwords.hash("correct horse"), "correct horse") == (True, None)
passwords.close()
"""


def _raise_niceness() -> None:
    # root: after this the next program has no CAP_SYS_NICE.
    ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, _CAP_SYS_NICE)
    os.nice(15)


def test_a_process_with_a_higher_niceness_can_hash() -> None:
    """A process cannot lower its niceness without a privilege."""
    command = [sys.executable, "-c", _AT_A_HIGHER_NICENESS]
    subprocess.run(command, check=True, timeout=60, preexec_fn=_raise_niceness)
