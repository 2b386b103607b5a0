"""The queue of those who wait for their turn."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from falcon import Response, testing

from customer_certificates.errors import Unavailable
from customer_certificates.middleware.in_turn import InTurn
from customer_certificates.middleware.turns import Turns

_LONG = 30.0


class Refused:
    """Counts who was refused."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self) -> None:
        self.number += 1


def wait(threads: ThreadPoolExecutor, take: Callable[[], None], turns: Turns) -> Callable[[], None]:
    """Has a thread `take` its turn; returns once it waits, with what waits for its end."""
    before = turns.waiting
    taken = threads.submit(take)
    while turns.waiting == before:
        assert not taken.done()
    return taken.result


def test_who_came_first_has_its_turn_first_and_who_gave_its_own_back_before_all() -> None:
    turns, order = Turns(1, Refused(), wait_seconds=_LONG), []
    turns.take()
    with ThreadPoolExecutor(3) as threads:

        def take(name: str, again: bool = False) -> None:
            turns.take(again=again)
            order.append(name)
            turns.give_back()

        ends = [
            wait(threads, lambda: take("first"), turns),
            wait(threads, lambda: take("second"), turns),
            wait(threads, lambda: take("again", True), turns),
        ]
        turns.give_back()
        for end in ends:
            end()

    assert order == ["again", "first", "second"]


def test_where_too_many_wait_the_next_is_refused_at_once() -> None:
    refused = Refused()
    turns = Turns(1, refused, wait_seconds=_LONG)
    turns.take()
    with ThreadPoolExecutor(64) as threads:
        ends = [wait(threads, turns.take, turns) for _ in range(64)]
        with pytest.raises(Unavailable) as refusal:
            turns.take()
        for end in ends:
            turns.give_back()
            end()

    assert refusal.value.retry_after == 1
    assert refused.number == 1


def test_nobody_waits_for_longer_than_said_nor_loses_a_turn_by_it() -> None:
    refused = Refused()
    turns = Turns(2, refused, wait_seconds=0.01)
    turns.take()
    turns.take()
    with pytest.raises(Unavailable):
        turns.take()
    turns.give_back()
    turns.take()

    assert refused.number == 1
    assert turns.waiting == 0


def test_who_asks_whether_the_process_lives_does_not_wait() -> None:
    in_turn = InTurn(Turns(0, Refused()), Turns(0, Refused()))
    in_turn.process_request(testing.create_req(path="/livez"), Response())
    with pytest.raises(Unavailable):
        in_turn.process_request(testing.create_req(path="/users"), Response())
