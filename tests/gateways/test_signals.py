"""Events that signal handlers set."""

import signal
import threading
from collections.abc import Iterator

import pytest

from customer_certificates.gateways.signals import SignalSafeEvent


@pytest.fixture
def alarm() -> Iterator[SignalSafeEvent]:
    """An event that a signal handler sets a thousand times a second."""
    alarm = SignalSafeEvent()
    before = signal.signal(signal.SIGALRM, lambda *_: alarm.set())
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    yield alarm
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_a_signal_handler_may_set_the_event_at_any_time(alarm: SignalSafeEvent) -> None:
    """An Event hangs here: its lock is held by the thread that the handler interrupts."""

    def ring() -> None:
        for _ in range(100_000):
            alarm.set()

    ringing = threading.Thread(target=ring)
    ringing.start()
    for _ in range(100_000):
        alarm.set()
        alarm.clear()
        alarm.wait(0)
    ringing.join()
    assert alarm.wait()


def test_another_thread_wakes_the_waiting_one() -> None:
    alarm = SignalSafeEvent()
    assert not alarm.wait(0.01)
    assert not alarm.is_set()

    done = []

    def ring() -> None:
        done.append("set")
        alarm.set()

    threading.Timer(0.05, ring).start()
    assert alarm.wait()
    assert done == ["set"]
    assert alarm.wait(0)
    alarm.clear()
    assert not alarm.wait(0)
