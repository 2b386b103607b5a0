"""What runs in the children's own processes: the nursery that forks them, and the child itself."""

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
from importlib import import_module
from time import process_time

from .messages import receive, send

Work = Callable[[bytes], bytes]

ORDER = struct.Struct("!q")
# Before each answer: the microseconds of CPU that it took.
CPU = struct.Struct("!I")
OUT_OF_MEMORY = 3
DONE, DEFECT = b"+", b"-"

_MEMORY_BYTES = 256 * 1024 * 1024
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_NICENESS = 5


def main(descriptor: int, module: str, name: str, cpu_seconds: float) -> None:
    """The nursery: prepares the work once, then forks and reaps children as it is ordered to.

    `descriptor` is its channel. First comes the data to prepare with, and is answered by what went
    wrong (nothing: ready). Then orders: 0 and the child's pipe, answered by the child's id (or the
    negative errno), or a child's id, answered by the status that it ended with. It lives, and its
    children with it, until the channel is closed, which the kernel does for a worker that is
    killed.
    """
    # A service that is told to stop still answers the requests under way, and needs them for it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Those who send nothing costly are answered first.
    os.nice(_NICENESS)
    with socket.socket(fileno=descriptor) as channel:
        try:
            work: Work = getattr(import_module(module), name)(receive(channel))
        except Exception:
            send(channel, traceback.format_exc().encode())
            return
        # What the children share with the nursery, their garbage collection is not to copy.
        gc.collect()
        gc.freeze()
        _keep_quiet()
        send(channel, b"")
        _obey(channel, work, cpu_seconds)


def _obey(channel: socket.socket, work: Work, cpu_seconds: float) -> None:
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
    nursery = os.getpid()
    try:
        child = os.fork()
    except OSError as error:
        return -(error.errno or errno.EAGAIN)
    if child:
        return child
    code = 1
    try:
        channel.close()
        _limit(nursery)
        # Held here until the exit: who reads its end is to find what the process ended with.
        pipe = socket.socket(fileno=descriptor)
        _live(pipe, work, cpu_seconds)
        code = 0
    except MemoryError:
        code = OUT_OF_MEMORY
    finally:
        os._exit(code)


def _end(child: int) -> int:
    # One that ended by itself waits here to be reaped: its id cannot be a stranger's by now.
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _keep_quiet() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard)
    os.close(nothing)


def _limit(nursery: int) -> None:
    """It ends with the nursery, opens no file and no socket, and has 256 MiB in all."""
    if sys.platform == "linux":
        control = ctypes.CDLL(None).prctl
        control(_PR_SET_PDEATHSIG, signal.SIGKILL)
        control(_PR_SET_DUMPABLE, 0)
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    if os.getppid() != nursery:
        os._exit(0)
    for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        resource.setrlimit(limit, (0, 0))


def _live(pipe: socket.socket, work: Work, cpu_seconds: float) -> None:
    """Answers requests until the worker closes its end of the pipe."""
    with suppress(EOFError):
        while True:
            request = receive(pipe)
            # Unlike RLIMIT_CPU, which counts whole seconds, it is exact; the kernel ends the
            # process, whatever holds the interpreter.
            signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
            begun = process_time()
            try:
                answer = DONE + work(request)
            except MemoryError:
                raise
            except BaseException as defect:
                answer = DEFECT + _place(defect)
            # What is left is not for reading the next.
            signal.setitimer(signal.ITIMER_PROF, 0)
            send(pipe, CPU.pack(int(1e6 * (process_time() - begun))) + answer)


def _place(defect: BaseException) -> bytes:
    """What was raised and where, without its message: that may quote a private key."""
    lines = [
        f"  {frame.f_code.co_filename}:{number} in {frame.f_code.co_qualname}"
        for frame, number in traceback.walk_tb(defect.__traceback__)
    ]
    return "\n".join([type(defect).__qualname__, *lines]).encode()
