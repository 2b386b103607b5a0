"""The slots of what is scarce."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Event

import pytest

from customer_certificates.errors import Unavailable
from customer_certificates.gateways.admission import Slots

_LONG = 30.0


class Refused:
    """Counts who was refused."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self) -> None:
        self.number += 1


def begin(
    threads: ThreadPoolExecutor, hold: Callable[[], None], slots: Slots
) -> Callable[[], None]:
    """Has a thread `hold` a slot; returns once it waits, with what waits for its end."""
    before = slots.waiting
    held = threads.submit(hold)
    while slots.waiting == before:
        assert not held.done()
    return held.result


def hold(slots: Slots) -> None:
    with slots.one():
        pass


def test_the_first_to_wait_is_the_first_served() -> None:
    slots, order = Slots(1, Refused(), wait_seconds=_LONG), []

    def hold_as(name: str) -> None:
        with slots.one():
            order.append(name)

    with ThreadPoolExecutor(2) as threads:
        with slots.one():
            ends = [
                begin(threads, lambda: hold_as("first"), slots),
                begin(threads, lambda: hold_as("second"), slots),
            ]
        for end in ends:
            end()

    assert order == ["first", "second"]


def test_if_too_many_wait_the_next_is_refused_at_once() -> None:
    refused = Refused()
    slots = Slots(1, refused, wait_seconds=_LONG)
    with ThreadPoolExecutor(65) as threads:
        with slots.one():
            ends = [begin(threads, lambda: hold(slots), slots) for _ in range(64)]
            with pytest.raises(Unavailable) as refusal:
                threads.submit(hold, slots).result()
        for end in ends:
            end()

    assert refusal.value.retry_after == 1
    assert refused.number == 1


def test_a_request_that_waited_in_vain_leaves_its_slot_to_others() -> None:
    refused, held, released = Refused(), Event(), Event()
    slots = Slots(2, refused, wait_seconds=0.01)

    def hold_until_released() -> None:
        with slots.one():
            held.set()
            released.wait(_LONG)

    with ThreadPoolExecutor(3) as threads:
        with slots.one():
            other = threads.submit(hold_until_released)
            held.wait(_LONG)
            with pytest.raises(Unavailable):
                threads.submit(hold, slots).result()
        hold(slots)
        released.set()
        other.result()

    assert refused.number == 1
    assert slots.waiting == 0


def test_a_request_that_holds_one_needs_no_other() -> None:
    slots = Slots(1, Refused(), wait_seconds=0)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(slots.one())

    hold(slots)
