"""Slots for limited resources, and the CPU budget."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from threading import Event, Semaphore

import pytest

from customer_certificates.errors import Refusal, TooManyRequests, Unavailable
from customer_certificates.gateways import loop
from customer_certificates.gateways.admission.budgets import CpuBudget
from customer_certificates.gateways.admission.limiter import TENANT, Slots

_LONG = 30.0


class Refused:
    """Counts rejected requests."""

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
    with slots.hold():
        pass


def test_requests_are_served_in_the_order_of_their_arrival() -> None:
    slots, order = Slots(1, Refused(), wait_seconds=_LONG), []

    def hold_as(name: str) -> None:
        with slots.hold():
            order.append(name)

    with ThreadPoolExecutor(2) as threads:
        with slots.hold():
            ends = [
                begin(threads, lambda: hold_as("first"), slots),
                begin(threads, lambda: hold_as("second"), slots),
            ]
        for end in ends:
            end()

    assert order == ["first", "second"]


def test_if_too_many_requests_wait_the_next_is_rejected() -> None:
    refused = Refused()
    slots = Slots(1, refused, wait_seconds=_LONG)
    with ThreadPoolExecutor(65) as threads:
        with slots.hold():
            ends = [begin(threads, lambda: hold(slots), slots) for _ in range(64)]
            with pytest.raises(Unavailable) as refusal:
                threads.submit(hold, slots).result()
        for end in ends:
            end()

    assert refusal.value.retry_after == 1
    assert refused.number == 1


def test_a_request_that_times_out_takes_no_slot() -> None:
    refused, held, released = Refused(), Event(), Event()
    slots = Slots(2, refused, wait_seconds=0.01)

    def hold_until_released() -> None:
        with slots.hold():
            held.set()
            released.wait(_LONG)

    with ThreadPoolExecutor(3) as threads:
        with slots.hold():
            other = threads.submit(hold_until_released)
            held.wait(_LONG)
            with pytest.raises(Unavailable):
                threads.submit(hold, slots).result()
        hold(slots)
        released.set()
        other.result()

    assert refused.number == 1
    assert slots.waiting == 0


def test_a_request_that_holds_a_slot_needs_no_other() -> None:
    slots = Slots(1, Refused(), wait_seconds=0)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(slots.hold())

    hold(slots)


@contextmanager
def as_tenant(tenant: str) -> Iterator[None]:
    """Requests in the block are those of this tenant."""
    token = TENANT.set(tenant)
    try:
        yield
    finally:
        TENANT.reset(token)


def ask_as(tenant: str, slots: Slots) -> None:
    with as_tenant(tenant):
        hold(slots)


class Crowd:
    """Requests of tenants, each in a thread of its own, in the order in which they come."""

    def __init__(self, slots: Slots, threads: ThreadPoolExecutor) -> None:
        self._slots = slots
        self._threads = threads
        self.served: list[str] = []
        self._ends: list[Future[None]] = []

    def line_up(self, tenants: str) -> None:
        """One request of each of these tenants, one letter each, comes and waits."""
        for tenant in tenants:
            before = self._slots.waiting
            self._ends.append(self._threads.submit(self._ask, tenant))
            while self._slots.waiting == before:
                assert not self._ends[-1].done()

    def await_refusal(self, of: int) -> None:
        """Returns once this request was refused, before any other has ended."""
        done, _ = wait(self._ends, _LONG, FIRST_COMPLETED)
        assert done == {self._ends[of]}

    def refused(self) -> list[Refusal]:
        """Returns what was raised, once all have ended."""
        errors = [end.exception(_LONG) for end in self._ends]
        return [error for error in errors if isinstance(error, Refusal)]

    def _ask(self, tenant: str) -> None:
        with as_tenant(tenant), self._slots.hold():
            self.served.append(tenant)


def test_tenants_are_served_round_robin() -> None:
    slots = Slots(1, Refused(), wait_seconds=_LONG, waiting_per_slot=8)
    with ThreadPoolExecutor(8) as threads:
        crowd = Crowd(slots, threads)
        with as_tenant("a"), slots.hold():
            crowd.line_up("aaaabcb")
        assert not crowd.refused()

    assert "".join(crowd.served) == "bcabaaa"


def test_a_tenant_holds_at_most_half_of_the_slots() -> None:
    slots, released = Slots(4, Refused(), wait_seconds=_LONG, waiting_per_slot=8), Event()
    held = Semaphore(0)

    def hold_until_released() -> None:
        with as_tenant("a"), slots.hold():
            held.release()
            released.wait(_LONG)

    with ThreadPoolExecutor(8) as threads:
        for _ in range(2):
            threads.submit(hold_until_released)
            held.acquire(timeout=_LONG)
        crowd = Crowd(slots, threads)
        crowd.line_up("a")
        threads.submit(ask_as, "b", slots).result(_LONG)
        before = (list(crowd.served), slots.waiting)
        released.set()
        assert not crowd.refused()

    assert before == ([], 1)
    assert crowd.served == ["a"]


def test_only_the_tenant_with_a_full_queue_is_rejected() -> None:
    refused = Refused()
    slots = Slots(1, refused, wait_seconds=_LONG, waiting_per_slot=2)
    with ThreadPoolExecutor(8) as threads:
        crowd = Crowd(slots, threads)
        with as_tenant("a"), slots.hold():
            crowd.line_up("aa")
            with pytest.raises(TooManyRequests) as refusal:
                threads.submit(ask_as, "a", slots).result(_LONG)
            crowd.line_up("b")
        assert not crowd.refused()

    assert refusal.value.retry_after == 1
    assert refused.number == 1
    assert crowd.served == ["b", "a", "a"]


def test_if_too_many_requests_wait_the_longest_queue_loses_one() -> None:
    slots = Slots(1, Refused(), wait_seconds=_LONG, capacity=4, waiting_per_slot=8)
    with ThreadPoolExecutor(8) as threads:
        crowd = Crowd(slots, threads)
        with as_tenant("a"), slots.hold():
            crowd.line_up("aab")
            late = threads.submit(ask_as, "c", slots)
            crowd.await_refusal(of=1)
            with pytest.raises(Unavailable):
                threads.submit(ask_as, "d", slots).result(_LONG)
        late.result(_LONG)
        (refusal,) = crowd.refused()

    assert isinstance(refusal, TooManyRequests)
    assert crowd.served == ["b", "a"]


@pytest.mark.parametrize(
    ("holder", "may_hang", "reason"),
    [("a", False, TooManyRequests), ("b", False, Unavailable), ("a", True, Unavailable)],
)
def test_the_error_after_a_long_wait_depends_on_who_caused_it(
    holder: str, may_hang: bool, reason: type[Refusal]
) -> None:
    slots = Slots(1, Refused(), wait_seconds=0, waiting_per_slot=8, may_hang=may_hang)
    with ThreadPoolExecutor(1) as threads:
        with as_tenant(holder), slots.hold(), pytest.raises(reason):
            threads.submit(ask_as, "a", slots).result(_LONG)
        assert slots.waiting == 0
        threads.submit(ask_as, "a", slots).result(_LONG)


def test_a_canceled_request_leaves_the_queue() -> None:
    slots = Slots(1, Refused(), wait_seconds=_LONG, waiting_per_slot=8)

    async def cancel_one() -> None:
        held = asyncio.Event()

        def hold_until_cancelled() -> None:
            with slots.hold():
                held.set()
                loop.sleep(_LONG)

        tasks = []
        for _ in range(2):
            tasks.append(asyncio.create_task(loop.spawn(hold_until_cancelled)))
            await asyncio.sleep(0)
        await held.wait()
        assert slots.waiting == 1
        # The one that waits, then the one that holds it.
        for task in reversed(tasks):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with as_tenant("a"):
        asyncio.run(cancel_one())

    assert (slots.waiting, slots.tenants) == (0, 0)
    hold(slots)


def test_no_state_is_kept_for_inactive_tenants() -> None:
    slots = Slots(1, Refused(), wait_seconds=0, waiting_per_slot=0)
    for number in range(100):
        with as_tenant(f"user {number}"), slots.hold():
            with pytest.raises(TooManyRequests), ThreadPoolExecutor(1) as threads:
                threads.submit(ask_as, f"user {number}", slots).result(_LONG)
            assert slots.tenants == 1

    assert slots.tenants == 0


def test_each_tenant_has_its_own_budget_which_refills() -> None:
    refused, now = Refused(), [1000.0]
    budget = CpuBudget(30, refused, lambda: now[0])
    with as_tenant("a"):
        budget.spend(29)
        budget.require()
        budget.spend(2)
        with pytest.raises(TooManyRequests) as refusal:
            budget.require()
    with as_tenant("b"):
        budget.require()
    now[0] += 3
    with as_tenant("a"):
        budget.require()

    assert refusal.value.retry_after == 3
    assert refused.number == 1


def test_the_budget_keeps_the_tenants_that_used_it_last() -> None:
    budget = CpuBudget(30, Refused(), lambda: 0.0)
    for number in range(10_001):
        with as_tenant(f"user {number}"):
            budget.spend(31)

    with as_tenant("user 0"):
        budget.require()
    with as_tenant("user 10000"), pytest.raises(TooManyRequests):
        budget.require()
