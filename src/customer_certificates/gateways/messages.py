"""Messages over a stream: a length, then as many bytes."""

import socket
import struct

_LENGTH = struct.Struct("!I")
_READ_BYTES = 65536


def send(pipe: socket.socket, message: bytes) -> None:
    """Sends one message. Raises OSError where the other side is gone or does not read in time."""
    pipe.sendall(_LENGTH.pack(len(message)) + message)


def receive(pipe: socket.socket) -> bytes:
    """The next message; raises EOFError or OSError where the other side is gone or late."""
    received = bytearray()
    size = _LENGTH.size
    while len(received) < size:
        part = pipe.recv(_READ_BYTES)
        if not part:
            raise EOFError
        received += part
        if size == _LENGTH.size <= len(received):
            size += _LENGTH.unpack_from(received)[0]
    return bytes(memoryview(received)[_LENGTH.size :])
