"""Frames messages on a stream: a length, then as many bytes."""

import socket
import struct

_LENGTH = struct.Struct("!I")
READ_BYTES = 65536


def framed(message: bytes) -> bytes:
    """Returns the bytes of one message."""
    return _LENGTH.pack(len(message)) + message


class Incoming:
    """A message that arrives in parts."""

    def __init__(self) -> None:
        self._received = bytearray()

    def add(self, part: bytes) -> bytes | None:
        """Returns the message once it is complete. Raises EOFError if the stream ends before."""
        if not part:
            raise EOFError
        received = self._received
        received += part
        if len(received) < _LENGTH.size:
            return None
        if len(received) < _LENGTH.size + _LENGTH.unpack_from(received)[0]:
            return None
        return bytes(memoryview(received)[_LENGTH.size :])


def send(pipe: socket.socket, message: bytes) -> None:
    """Sends one message. Raises OSError if the other side is closed or does not read in time."""
    pipe.sendall(framed(message))


def receive(pipe: socket.socket) -> bytes:
    """Returns the next message. Raises EOFError or OSError if the other side is closed or late."""
    incoming = Incoming()
    while (message := incoming.add(pipe.recv(READ_BYTES))) is None:
        pass
    return message
