"""Requests that cannot have a child do not hold the threads of those that need none."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event

import pytest

from customer_certificates.errors import Unavailable
from customer_certificates.gateways import waiting_room
from customer_certificates.gateways.waiting_room import WaitingRoom


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> WaitingRoom[str]:
    """In which everybody has waited in vain."""
    monkeypatch.setattr(waiting_room, "_WAIT_SECONDS", 0.001)
    room = WaitingRoom[str]()
    with pytest.raises(Unavailable):
        room.take()
    return room


@pytest.fixture
def nobody_waits(room: WaitingRoom[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def wait() -> None:
        raise AssertionError("It waits.")

    monkeypatch.setattr(waiting_room, "SimpleQueue", wait)


def test_the_last_used_is_the_next() -> None:
    room = WaitingRoom[str]()
    room.add("first")
    room.add("last")

    assert [room.take(), room.take()] == ["last", "first"]


@pytest.mark.usefixtures("nobody_waits")
def test_after_one_has_waited_in_vain_none_waits(room: WaitingRoom[str]) -> None:
    with pytest.raises(Unavailable) as refusal:
        room.take()

    assert refusal.value.retry_after == 1


@pytest.mark.usefixtures("nobody_waits")
def test_what_replaces_a_dead_one_is_taken_but_not_waited_for(room: WaitingRoom[str]) -> None:
    room.add("new")

    assert room.take() == "new"
    with pytest.raises(Unavailable):
        room.take()


@pytest.mark.usefixtures("nobody_waits")
def test_after_one_has_answered_requests_wait_again(room: WaitingRoom[str]) -> None:
    room.give_back("answered")
    room.take()

    with pytest.raises(AssertionError, match="It waits"):
        room.take()


@pytest.mark.parametrize("giving", [WaitingRoom[str].add, WaitingRoom[str].give_back])
def test_who_waits_is_served_before_who_comes(
    giving: Callable[[WaitingRoom[str], str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a thread that gives back and comes again at once would have it each time."""
    waits = Event()

    class Place(SimpleQueue[str]):
        def get(self, block: bool = True, timeout: float | None = None) -> str:
            waits.set()
            return super().get(block, timeout)

    monkeypatch.setattr(waiting_room, "SimpleQueue", Place)
    monkeypatch.setattr(waiting_room, "_WAIT_SECONDS", 30)
    room = WaitingRoom[str]()
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(room.take)
        waits.wait()
        monkeypatch.setattr(waiting_room, "_WAIT_SECONDS", 0.001)
        giving(room, "one")

        with pytest.raises(Unavailable):
            room.take()
        assert first.result() == "one"
