"""Messages over a stream: a length, then as many bytes."""

import socket
import struct

_LENGTH = struct.Struct("!I")
READ_BYTES = 65536


def framed(message: bytes) -> bytes:
    """One message as it is sent."""
    return _LENGTH.pack(len(message)) + message


class Incoming:
    """A message as it comes, in parts."""

    def __init__(self) -> None:
        self._received = bytearray()

    def add(self, part: bytes) -> bytes | None:
        """The message, once all of it is there. Raises EOFError if nothing more comes."""
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
    """Sends one message. Raises OSError where the other side is gone or does not read in time."""
    pipe.sendall(framed(message))


def receive(pipe: socket.socket) -> bytes:
    """The next message; raises EOFError or OSError where the other side is gone or late."""
    incoming = Incoming()
    while (message := incoming.add(pipe.recv(READ_BYTES))) is None:
        pass
    return message
