"""Parses DER (ITU-T X.690) by offsets, for speed: every upload is read with it."""

from .ber import dotted

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, OID = 0x01, 0x02, 0x03, 0x04, 0x06
SEQUENCE, SET = 0x30, 0x31

_LONGEST_OID = 64

# The tag of an element, and the start and end of its content.
Part = tuple[int, int, int]


class NotDer(ValueError):  # noqa: N818 - it says what the bytes are
    """The bytes are malformed; the message is a clause for customers."""


def part_at(data: bytes, at: int, end: int) -> Part:
    """Returns the element from `at` to `end` at most. Raises NotDer."""
    start = at + 2
    if start > end:
        raise NotDer("it ends too early")
    tag, length = data[at], data[at + 1]
    if tag & 0x1F == 0x1F:
        raise NotDer("a tag is too large")
    if length >= 0x80:
        octets = length & 0x7F
        length = int.from_bytes(data[start : start + octets])
        start += octets
        # This also rejects 0x80, an indefinite length.
        if length < 0x80 or length.bit_length() <= 8 * octets - 8:
            raise NotDer("a length is not written in its shortest form")
    stop = start + length
    if stop > end:
        raise NotDer("it ends too early")
    return tag, start, stop


def parts(data: bytes, at: int, end: int) -> list[Part]:
    """Returns all elements between `at` and `end`. Raises NotDer."""
    found = []
    while at < end:
        part = part_at(data, at, end)
        found.append(part)
        at = part[2]
    return found


def whole(data: bytes, tag: int) -> tuple[int, int]:
    """Returns start and end of the content of `data`.

    Raises NotDer if `data` is not exactly one element with `tag`.
    """
    found, start, stop = part_at(data, 0, len(data))
    if found != tag:
        raise NotDer("it has another type")
    if stop != len(data):
        raise NotDer("something follows its end")
    return start, stop


def members(data: bytes) -> list[Part]:
    """Returns the elements of the SEQUENCE `data`. Raises NotDer."""
    return parts(data, *whole(data, SEQUENCE))


def integer(data: bytes, part: Part) -> int:
    """Returns the value of an INTEGER. Raises NotDer."""
    tag, start, stop = part
    if tag != INTEGER or start == stop:
        raise NotDer("a number is missing")
    # OpenSSL also rejects a number with unnecessary octets.
    if stop - start > 1 and data[start] in (0, 0xFF) and (data[start] ^ data[start + 1]) < 0x80:
        raise NotDer("a number is not written in its shortest form")
    return int.from_bytes(data[start:stop], signed=True)


def boolean(data: bytes, part: Part) -> bool:
    """Returns the value of a BOOLEAN; any nonzero octet is true. Raises NotDer."""
    tag, start, stop = part
    if tag != BOOLEAN or stop - start != 1:
        raise NotDer("a BOOLEAN is missing")
    return data[start] != 0


def oid(data: bytes, part: Part) -> str:
    """Returns the value of an OBJECT IDENTIFIER, with dots. Raises NotDer."""
    tag, start, stop = part
    if tag != OID:
        raise NotDer("an OBJECT IDENTIFIER is missing")
    octets = data[start:stop]
    known = _oids.get(octets)
    return known if known is not None else _new_oid(octets)


# A cache: certificates have the same identifiers again and again.
_oids: dict[bytes, str] = {}
_MOST_OIDS = 1000


def _new_oid(octets: bytes) -> str:
    if not 0 < len(octets) <= _LONGEST_OID or octets[-1] & 0x80:
        raise NotDer("an OBJECT IDENTIFIER is malformed")
    read = dotted(octets)
    if len(_oids) < _MOST_OIDS:
        _oids[octets] = read
    return read
