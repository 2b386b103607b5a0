"""The code of the sandbox processes: the fork server and its children."""

import ctypes
import errno
import gc
import os
import resource
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from time import process_time

from .framing import receive, send

Work = Callable[[bytes], bytes]

ORDER = struct.Struct("!q")
# Precedes each answer: the microseconds of CPU time that it took.
CPU = struct.Struct("!I")
OUT_OF_MEMORY = 3
DONE, DEFECT = b"+", b"-"

_MEMORY_BYTES = 256 * 1024 * 1024
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_NICENESS = 5
# A worker sends each order as a whole.
_ORDER_SECONDS = 5


def serve_fork_servers(descriptor: int, module: str) -> None:
    """The template: imports `module`, then forks a fork server for each socket.

    Any number of processes may send sockets on its channel, `descriptor`. It runs until the last of
    these has closed the channel. The kernel closes it for a killed process.
    """
    # After SIGTERM, a service finishes its requests first. They need children.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Requests that need no child have priority for the CPU.
    os.nice(_NICENESS)
    # The kernel reaps fork servers.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # If the import fails, `_prepared` repeats it, and the worker gets the traceback.
    with suppress(Exception):
        import_module(module)
    with socket.socket(fileno=descriptor) as channel:
        while True:
            order, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
            if not order:
                break
            for received in descriptors:
                # The worker may have exited. If a fork fails, the worker sees the end of the
                # stream.
                with socket.socket(fileno=received) as orders, suppress(OSError, EOFError):
                    _fork_server(orders, channel)


def _fork_server(channel: socket.socket, others: socket.socket) -> None:
    """Forks a process that prepares its work, and takes orders on `channel`.

    The first messages are the module and name of the function that prepares, the CPU seconds of a
    request, and the data. The response is the process ID of the fork server, or 0 and the error.
    """
    channel.settimeout(_ORDER_SECONDS)
    module, name, cpu_seconds, data = receive(channel).split(b" ", 3)
    try:
        work = _prepared(module.decode(), name.decode(), data)
    except Exception:
        send(channel, ORDER.pack(0) + traceback.format_exc().encode())
        return
    # Garbage collections in forked processes must not copy these objects.
    gc.collect()
    gc.freeze()
    if os.fork():
        return
    try:
        others.close()
        channel.settimeout(None)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _silence()
        send(channel, ORDER.pack(os.getpid()))
        _take_orders(channel, work, float(cpu_seconds))
    finally:
        os._exit(0)


@lru_cache(maxsize=4)
def _prepared(module: str, name: str, data: bytes) -> Work:
    """Returns the same work for each worker of a service."""
    work: Work = getattr(import_module(module), name)(data)
    return work


def _take_orders(channel: socket.socket, work: Work, cpu_seconds: float) -> None:
    """The fork server: forks and reaps children on request.

    An order is 0 and the child's pipe; the response is the child's ID, or the negative errno. Or an
    order is a child's ID; the response is its exit status. The process and its children run until
    the channel is closed. The kernel closes it for a killed worker.
    """
    children: set[int] = set()
    while True:
        order, descriptors, _, _ = socket.recv_fds(channel, ORDER.size, 1)
        if not order:
            break
        if descriptors:
            answer = _fork(channel, descriptors[0], work, cpu_seconds)
            os.close(descriptors[0])
            if answer > 0:
                children.add(answer)
        else:
            (child,) = ORDER.unpack(order)
            answer = _end(child)
            children.discard(child)
        channel.sendall(ORDER.pack(answer))
    for child in children:
        _end(child)


def _fork(channel: socket.socket, descriptor: int, work: Work, cpu_seconds: float) -> int:
    fork_server = os.getpid()
    try:
        child = os.fork()
    except OSError as error:
        return -(error.errno or errno.EAGAIN)
    if child:
        return child
    code = 1
    try:
        channel.close()
        _limit(fork_server)
        # Kept open until the exit: the reader of its end expects an exit status then.
        pipe = socket.socket(fileno=descriptor)
        _answer_requests(pipe, work, cpu_seconds)
        code = 0
    except MemoryError:
        code = OUT_OF_MEMORY
    finally:
        os._exit(code)


def _end(child: int) -> int:
    # An exited child stays here until it is reaped, so its ID still belongs to it.
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _silence() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard)
    os.close(nothing)


def _limit(fork_server: int) -> None:
    """Limits the child: no files, no sockets, 256 MiB, and no survival of its parent."""
    if sys.platform == "linux":
        control = ctypes.CDLL(None).prctl
        control(_PR_SET_PDEATHSIG, signal.SIGKILL)
        control(_PR_SET_DUMPABLE, 0)
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    if os.getppid() != fork_server:
        os._exit(0)
    for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        resource.setrlimit(limit, (0, 0))


def _answer_requests(pipe: socket.socket, work: Work, cpu_seconds: float) -> None:
    """Answers requests until the worker closes its end of the pipe."""
    with suppress(EOFError):
        while True:
            request = receive(pipe)
            # Exact, unlike RLIMIT_CPU, which counts whole seconds. The kernel kills the process,
            # even if native code holds the interpreter.
            signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
            started = process_time()
            try:
                answer = DONE + work(request)
            except MemoryError:
                raise
            except BaseException as defect:
                answer = DEFECT + _location(defect)
            # The remaining time is not for reading the next request.
            signal.setitimer(signal.ITIMER_PROF, 0)
            send(pipe, CPU.pack(int(1e6 * (process_time() - started))) + answer)


def _location(defect: BaseException) -> bytes:
    """Returns the exception's type and location, without its message.

    The message may contain a private key.
    """
    lines = [
        f"  {frame.f_code.co_filename}:{number} in {frame.f_code.co_qualname}"
        for frame, number in traceback.walk_tb(defect.__traceback__)
    ]
    return "\n".join([type(defect).__qualname__, *lines]).encode()
