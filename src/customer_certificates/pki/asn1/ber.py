"""ASN.1 as it is encoded (ITU-T X.690), BER as well as DER, taken apart without decoding it all.

PKCS#12 files come in BER with indefinite lengths and strings in pieces; nothing that `cryptography`
offers reads that or an optional field of any type.
"""

from collections.abc import Iterator
from dataclasses import dataclass

INTEGER, BIT_STRING, OCTET_STRING, OID = 0x02, 0x03, 0x04, 0x06
SEQUENCE = 0x30

_CONSTRUCTED = 0x20
_INDEFINITE = 0x80
# An input of real use has tens; more is an attempt to make us busy.
_MOST_ELEMENTS = 5_000
_DEEPEST = 32
_LONGEST_OID = 64


class NotBer(ValueError):  # noqa: N818 - it says what the bytes are
    """These bytes are not what they should be; the message says what was wrong."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element: its identifier octet, its content, and its whole encoding."""

    tag: int
    content: memoryview
    encoded: memoryview

    def children(self) -> list["Element"]:
        """The elements that it is made of; raises NotBer."""
        if not self.tag & _CONSTRUCTED:
            raise NotBer("a primitive element has no parts")
        return list(_elements(self.content))

    def integer(self) -> int:
        """Its value, an INTEGER; raises NotBer."""
        if self.tag != INTEGER or not self.content:
            raise NotBer("no INTEGER where one should be")
        return int.from_bytes(self.content, signed=True)

    def oid(self) -> str:
        """Its value, an OBJECT IDENTIFIER, with dots; raises NotBer."""
        octets = bytes(self.content)
        if self.tag != OID or not 0 < len(octets) <= _LONGEST_OID or octets[-1] & 0x80:
            raise NotBer("no OBJECT IDENTIFIER where one should be")
        return dotted(octets)

    def octets(self) -> bytes:
        """Its value, an OCTET STRING (of whatever tag), in one piece or many; raises NotBer."""
        return b"".join(_pieces(self, _DEEPEST))


def dotted(octets: bytes) -> str:
    """The OBJECT IDENTIFIER of the content `octets`, whose last arc is complete, with dots."""
    arcs = [0]
    for octet in octets:
        arcs[-1] = arcs[-1] << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(0)
    first_arc = min(arcs[0] // 40, 2)
    return ".".join(map(str, [first_arc, arcs[0] - 40 * first_arc, *arcs[1:-1]]))


def first(data: bytes) -> Element:
    """The element that `data` begins with; raises NotBer."""
    for element in _elements(memoryview(data)):
        return element
    raise NotBer("nothing is there")


def only(data: bytes) -> Element:
    """The one element that `data` is; raises NotBer also where anything follows it."""
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
            end = _end(data, start)
            content, after = data[start:end], end + 2
        else:
            content, after = data[start : start + length], start + length
        yield Element(tag, content, data[at:after])
        at = after


def _header(data: memoryview, at: int) -> tuple[int, int, int | None]:
    """Identifier, start of content, and length (None: up to an end mark) of the element at `at`."""
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


def _end(data: memoryview, at: int) -> int:
    """Where the end mark stands of the element of indefinite length whose content is at `at`."""
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
    """The DER of an element with `tag` and the joined `contents`."""
    content = b"".join(contents)
    length = len(content)
    if length < _INDEFINITE:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([tag, _INDEFINITE + len(octets)]) + octets + content
