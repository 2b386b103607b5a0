"""The work of the sandbox processes in test_pool.py. A request names a function and its argument.

A module of its own, so that a fork server need not load pytest.
"""

import ctypes
import json
import os
import signal
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

_MEGABYTE = 1024 * 1024
_hoard: list[bytes] = []


def prepare(data: bytes) -> Callable[[bytes], bytes]:
    def work(request: bytes) -> bytes:
        name, _, argument = request.partition(b" ")
        if name == b"prepared":
            return data
        function: Callable[[bytes], bytes] = globals()[name.decode()]
        return function(argument)

    return work


def prepare_where_there_is(path: bytes) -> Callable[[bytes], bytes]:
    Path(path.decode()).read_bytes()
    return prepare(b"")


def echo(argument: bytes) -> bytes:
    return argument


def pid(_: bytes) -> bytes:
    return str(os.getpid()).encode()


def count_for_ever(_: bytes) -> NoReturn:
    while True:
        pass


def hold_the_interpreter(_: bytes) -> bytes:
    return bytes(pow(3, 1 << 100_000, (1 << 20_000) - 1) % 2)


def work_for(seconds: bytes) -> bytes:
    end = time.process_time() + float(seconds)
    while time.process_time() < end:
        pass
    return pid(b"")


def fill_memory(_: bytes) -> NoReturn:
    filled = []
    while True:
        filled.append(bytes(_MEGABYTE))


def take_memory(megabytes: bytes) -> bytes:
    return str(len(bytes(int(megabytes) * _MEGABYTE))).encode()


def hoard_memory(megabytes: bytes) -> bytes:
    _hoard.append(bytes(int(megabytes) * _MEGABYTE))
    return b""


def abort(_: bytes) -> bytes:
    os.abort()


def read_nowhere(_: bytes) -> bytes:
    return ctypes.string_at(0)


def leave(_: bytes) -> bytes:
    os._exit(0)


def be_killed(_: bytes) -> bytes:
    os.kill(os.getpid(), signal.SIGKILL)
    return b""


def sleep(_: bytes) -> bytes:
    signal.pause()
    return b""


def fail(secret: bytes) -> bytes:
    raise ValueError(f"{secret!r} is no key")


def fail_after(secret: bytes) -> bytes:
    try:
        return fail(secret)
    except ValueError as error:
        raise BaseException(secret) from error


def open_file(_: bytes) -> bytes:
    return _number_of(lambda: os.open("/", os.O_RDONLY))


def open_socket(_: bytes) -> bytes:
    return _number_of(socket.socket)


def open_after_closing(_: bytes) -> bytes:
    os.close(0)
    return _number_of(lambda: os.open("/", os.O_RDONLY))


def descriptors(_: bytes) -> bytes:
    kinds = []
    for number in range(1024):
        try:
            mode = os.fstat(number).st_mode
        except OSError:
            continue
        kinds.append("socket" if stat.S_ISSOCK(mode) else "device" if stat.S_ISCHR(mode) else "?")
    return json.dumps(kinds).encode()


def environment(_: bytes) -> bytes:
    return json.dumps(dict(os.environ)).encode()


def _number_of(opening: Callable[[], object]) -> bytes:
    try:
        opening()
    except OSError as error:
        return str(error.errno).encode()
    return b"opened"
