"""The bridge to the event loop: a request that waits does not keep others from being served."""

import asyncio
import contextvars
import socket
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

import pytest

from customer_certificates.gateways import loop
from customer_certificates.gateways.loop import Threads

_WAIT_SECONDS = 30


def together(*functions: Callable[[], Any]) -> list[Any]:
    """Runs each function in a greenlet of one loop; returns their results."""

    async def main() -> list[Any]:
        runs: list[Coroutine[Any, Any, Any]] = [loop.spawn(function) for function in functions]
        return await asyncio.wait_for(asyncio.gather(*runs), _WAIT_SECONDS)

    return asyncio.run(main())


def test_a_future_that_another_request_completes() -> None:
    future: Future[str] = Future()

    assert together(lambda: loop.result(future), lambda: future.set_result("done")) == [
        "done",
        None,
    ]


def test_a_future_that_another_thread_completes() -> None:
    future: Future[str] = Future()

    def complete() -> None:
        threading.Thread(target=future.set_result, args=["done"]).start()

    assert together(lambda: loop.result(future), complete)[0] == "done"


@pytest.mark.parametrize("inside", [True, False])
def test_a_future_that_nobody_completes(inside: bool) -> None:
    def wait() -> None:
        with pytest.raises(TimeoutError):
            loop.result(Future[None](), 0.01)

    if inside:
        together(wait)
    else:
        wait()


def test_a_socket_that_another_request_writes_to() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        found = together(lambda: loop.until_ready(ours.fileno()), lambda: theirs.send(b"x"))

        assert found == [(True, False), 1]
        assert loop.until_ready(ours.fileno(), write=True) == (True, True)


@pytest.mark.parametrize("inside", [True, False])
def test_a_socket_to_which_nobody_writes(inside: bool) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:

        def wait() -> tuple[bool, bool]:
            return loop.until_ready(ours.fileno(), seconds=0.01)

        assert (together(wait)[0] if inside else wait()) == (False, False)


def test_a_blocking_call_runs_in_a_thread_with_the_context_of_the_request() -> None:
    threads, released = Threads("test", 1), threading.Event()
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name")

    def block() -> tuple[str, bool]:
        assert released.wait(_WAIT_SECONDS)
        return name.get(), threading.current_thread() is threading.main_thread()

    def request() -> tuple[str, bool]:
        name.set("request")
        return threads.run(block)

    assert together(request, released.set)[0] == ("request", False)
    name.set("command")
    assert threads.run(block) == ("command", True)


def test_what_a_blocking_call_raises_is_raised() -> None:
    def fail() -> None:
        raise LookupError

    def request() -> None:
        with pytest.raises(LookupError):
            Threads("test", 1).run(fail)

    together(request)


def test_the_context_of_a_request_is_its_own_after_it_has_waited() -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name")

    def request(own: str) -> str:
        name.set(own)
        loop.sleep(0)
        return name.get()

    assert together(lambda: request("one"), lambda: request("two")) == ["one", "two"]
