"""DER (ITU-T X.690), written by hand: what no library would write must be written too."""

from datetime import UTC, datetime

SEQUENCE, SET = 0x30, 0x31
NULL = b"\x05\x00"


def element(tag: int, *contents: bytes) -> bytes:
    """One element, of a definite length in its shortest form."""
    content = b"".join(contents)
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    octets = len(content).to_bytes((len(content).bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def indefinite(tag: int, *contents: bytes) -> bytes:
    """One element of indefinite length, as BER has it."""
    return bytes([tag, 0x80]) + b"".join(contents) + b"\x00\x00"


def sequence(*contents: bytes) -> bytes:
    return element(SEQUENCE, *contents)


def integer(value: int) -> bytes:
    return element(0x02, value.to_bytes(value.bit_length() // 8 + 1, signed=True))


def boolean(value: bool) -> bytes:
    return element(0x01, b"\xff" if value else b"\x00")


def octets(content: bytes) -> bytes:
    return element(0x04, content)


def bits(content: bytes, unused: int = 0) -> bytes:
    return element(0x03, bytes([unused]) + content)


def oid(dotted: str) -> bytes:
    first, second, *arcs = map(int, dotted.split("."))
    return element(0x06, *map(_base_128, [first * 40 + second, *arcs]))


def tagged(number: int, *contents: bytes) -> bytes:
    """Explicitly tagged."""
    return element(0xA0 | number, *contents)


def utc_time(at: datetime) -> bytes:
    return element(0x17, f"{at.astimezone(UTC):%y%m%d%H%M%SZ}".encode())


def generalized_time(at: datetime) -> bytes:
    return element(0x18, f"{at.year:04d}{at.astimezone(UTC):%m%d%H%M%SZ}".encode())


def time(at: datetime) -> bytes:
    """As RFC 5280, 4.1.2.5, wants it."""
    return utc_time(at) if at.year < 2050 else generalized_time(at)


def _base_128(arc: int) -> bytes:
    made = [arc & 0x7F]
    while arc := arc >> 7:
        made.insert(0, 0x80 | arc & 0x7F)
    return bytes(made)
