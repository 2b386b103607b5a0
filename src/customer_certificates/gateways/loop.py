"""The bridge to the event loop for code that does not know it.

A worker serves each request in a greenlet of its event loop. There, each function suspends the
greenlet, and the loop serves other requests. Everywhere else (commands, the process `worker`,
threads, tests without a server) each function blocks its thread.
"""

import asyncio
import os
import select
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from threading import Lock
from typing import Any, ParamSpec, TypeVar

from sqlalchemy.util import await_only, greenlet_spawn
from sqlalchemy.util.concurrency import in_greenlet

T = TypeVar("T")
P = ParamSpec("P")


async def spawn(function: Callable[..., T], *arguments: Any) -> T:
    """Returns the result of `function`, which runs in a greenlet.

    It may wait with the functions of this module.
    """
    return await greenlet_spawn(function, *arguments)


def is_inside() -> bool:
    """Whether the caller runs in such a greenlet."""
    return in_greenlet()


def wait_for(future: asyncio.Future[T]) -> T:
    """Returns the result of a future of the loop. Only inside a greenlet."""
    return await_only(future)


def result(future: Future[T], seconds: float | None = None) -> T:
    """Returns the result of `future`. Raises TimeoutError after `seconds`."""
    if not is_inside() or future.done():
        return future.result(seconds)
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()
    future.add_done_callback(lambda _: loop.call_soon_threadsafe(_wake, waiter))
    timer = None if seconds is None else loop.call_later(seconds, _wake, waiter)
    await_only(waiter)
    if timer:
        timer.cancel()
    return future.result(0)


def sleep(seconds: float) -> None:
    """Returns after `seconds`."""
    if is_inside():
        await_only(asyncio.sleep(seconds))
    else:
        time.sleep(seconds)


def until_ready(
    descriptor: int, *, read: bool = True, write: bool = False, seconds: float | None = None
) -> tuple[bool, bool]:
    """Waits until a socket is readable or writable, as requested.

    Returns whether it is readable, and whether it is writable. Neither is true after `seconds`.
    """
    if not is_inside():
        poll = select.poll()
        poll.register(descriptor, (select.POLLIN if read else 0) | (select.POLLOUT if write else 0))
        found = poll.poll(None if seconds is None else seconds * 1000)
        events = found[0][1] if found else 0
        # The next read or write reports an error.
        broken = bool(events & ~(select.POLLIN | select.POLLOUT))
        return (
            read and (broken or bool(events & select.POLLIN)),
            write and (broken or bool(events & select.POLLOUT)),
        )
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[tuple[bool, bool]] = loop.create_future()
    if read:
        loop.add_reader(descriptor, _wake, waiter, (True, False))
    if write:
        loop.add_writer(descriptor, _wake, waiter, (False, True))
    timer = None if seconds is None else loop.call_later(seconds, _wake, waiter, (False, False))
    try:
        return await_only(waiter)
    finally:
        if read:
            loop.remove_reader(descriptor)
        if write:
            loop.remove_writer(descriptor)
        if timer:
            timer.cancel()


class Threads:
    """A bounded number of threads for calls that would block the loop."""

    def __init__(self, name: str, size: int) -> None:
        """The threads start at the first use, in each process anew."""
        self._name = name
        self._size = size
        self._lock = Lock()
        self._made: tuple[int, ThreadPoolExecutor] | None = None

    def run(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Returns the result of `function`.

        It runs in one of the threads if the caller is in a greenlet.
        """
        if not is_inside():
            return function(*arguments, **named)
        call: Callable[[], T] = partial(copy_context().run, function, *arguments, **named)
        return result(self._executor().submit(call))

    def _executor(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._made is None or self._made[0] != os.getpid():
                self._made = os.getpid(), ThreadPoolExecutor(self._size, self._name)
            return self._made[1]


def _wake(waiter: asyncio.Future[Any], value: Any = None) -> None:
    if not waiter.done():
        waiter.set_result(value)
