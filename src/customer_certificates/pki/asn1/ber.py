"""Parses ASN.1 in BER or DER (ITU-T X.690) without decoding all of it.

PKCS#12 files come in BER with indefinite lengths and segmented strings. `cryptography` can parse
neither these nor an optional field of any type.
"""

from collections.abc import Iterator
from dataclasses import dataclass

INTEGER, BIT_STRING, OCTET_STRING, OID = 0x02, 0x03, 0x04, 0x06
SEQUENCE = 0x30

_CONSTRUCTED = 0x20
_INDEFINITE = 0x80
# Real inputs have tens of elements. More are an attempt to waste time.
_MOST_ELEMENTS = 5_000
_DEEPEST = 32
_LONGEST_OID = 64


class NotBer(ValueError):  # noqa: N818 - it says what the bytes are
    """The bytes are malformed; the message says why."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element: its identifier octet, its content, and its whole encoding."""

    tag: int
    content: memoryview
    encoded: memoryview

    def children(self) -> list["Element"]:
        """Returns the elements of this one. Raises NotBer."""
        if not self.tag & _CONSTRUCTED:
            raise NotBer("a primitive element has no parts")
        return list(_elements(self.content))

    def sequence(self, least: int = 0) -> list["Element"]:
        """Returns the elements of a SEQUENCE that has at least `least`. Raises NotBer."""
        if self.tag != SEQUENCE:
            raise NotBer("a SEQUENCE is missing")
        parts = list(_elements(self.content))
        if len(parts) < least:
            raise NotBer("a part is missing")
        return parts

    def integer(self) -> int:
        """Returns the value of an INTEGER. Raises NotBer."""
        if self.tag != INTEGER or not self.content:
            raise NotBer("an INTEGER is missing")
        return int.from_bytes(self.content, signed=True)

    def oid(self) -> str:
        """Returns the value of an OBJECT IDENTIFIER, with dots. Raises NotBer."""
        octets = bytes(self.content)
        if self.tag != OID or not 0 < len(octets) <= _LONGEST_OID or octets[-1] & 0x80:
            raise NotBer("an OBJECT IDENTIFIER is missing")
        return dotted(octets)

    def octets(self) -> bytes:
        """Returns the value of an OCTET STRING (any tag), also segmented. Raises NotBer."""
        return b"".join(_pieces(self, _DEEPEST))


NULL = Element(0x05, memoryview(b""), memoryview(b"\x05\x00"))


def dotted(octets: bytes) -> str:
    """Returns the OBJECT IDENTIFIER with content `octets`, with dots. The last arc must be
    complete."""
    arcs = [0]
    for octet in octets:
        arcs[-1] = arcs[-1] << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(0)
    first_arc = min(arcs[0] // 40, 2)
    return ".".join(map(str, [first_arc, arcs[0] - 40 * first_arc, *arcs[1:-1]]))


def first(data: bytes) -> Element:
    """Returns the first element of `data`. Raises NotBer."""
    for element in _elements(memoryview(data)):
        return element
    raise NotBer("it is empty")


def only(data: bytes) -> Element:
    """Returns the only element of `data`. Raises NotBer, also for trailing data."""
    element = first(data)
    if len(element.encoded) != len(data):
        raise NotBer(f"{len(data) - len(element.encoded)} bytes follow the end")
    return element


def _pieces(element: Element, depth: int) -> Iterator[memoryview]:
    if not element.tag & _CONSTRUCTED:
        yield element.content
        return
    if not depth:
        raise NotBer("a string is nested too deeply")
    for piece in element.children():
        if piece.tag & ~_CONSTRUCTED != OCTET_STRING:
            raise NotBer("a string has parts that are not strings")
        yield from _pieces(piece, depth - 1)


def _elements(data: memoryview) -> Iterator[Element]:
    at = count = 0
    while at < len(data):
        if (count := count + 1) > _MOST_ELEMENTS:
            raise NotBer(f"more than {_MOST_ELEMENTS} elements")
        tag, start, length = _header(data, at)
        if length is None:
            end = _end_mark(data, start)
            content, after = data[start:end], end + 2
        else:
            content, after = data[start : start + length], start + length
        yield Element(tag, content, data[at:after])
        at = after


def _header(data: memoryview, at: int) -> tuple[int, int, int | None]:
    """Returns identifier, start of content, and length of the element at `at`.

    The length is None if an end mark follows the content.
    """
    if at + 2 > len(data):
        raise NotBer("it ends too early")
    tag, length, start = data[at], data[at + 1], at + 2
    if tag & 0x1F == 0x1F:
        raise NotBer("a tag is too large")
    if length == _INDEFINITE:
        if not tag & _CONSTRUCTED:
            raise NotBer("a primitive element has no length")
        return tag, start, None
    if length > _INDEFINITE:
        octets = length - _INDEFINITE
        length, start = int.from_bytes(data[start : start + octets]), start + octets
    if start + length > len(data):
        raise NotBer("it ends too early")
    return tag, start, length


def _end_mark(data: memoryview, at: int) -> int:
    """Returns the position of the end mark of an element of indefinite length from `at`."""
    open_elements = 1
    for _ in range(_MOST_ELEMENTS):
        tag, start, length = _header(data, at)
        if length is None:
            open_elements += 1
            at = start
        elif tag == 0 and length == 0:
            open_elements -= 1
            if not open_elements:
                return at
            at = start
        else:
            at = start + length
    raise NotBer(f"more than {_MOST_ELEMENTS} elements")


def encode(tag: int, *contents: bytes) -> bytes:
    """Returns the DER of an element with `tag` and the joined `contents`."""
    content = b"".join(contents)
    length = len(content)
    if length < _INDEFINITE:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([tag, _INDEFINITE + len(octets)]) + octets + content
