"""Reads subjects and issuers (RFC 5280, 4.1.2.4) as text, and reports oddities.

No codecs are used: a sandbox process cannot open files, so it cannot import a codec.
"""

from functools import lru_cache
from typing import NamedTuple

from ..asn1 import der
from ..asn1.der import NotDer

COMMON_NAME = "2.5.4.3"

_MOST_REMEMBERED_OCTETS = 4096
_UTF8, _NUMERIC, _PRINTABLE, _IA5, _UNIVERSAL, _BMP = 0x0C, 0x12, 0x13, 0x16, 0x1C, 0x1E
# Numeric, Printable, T61, IA5: clients read each octet as a character of Latin-1, whatever the type
# permits.
_LATIN_1 = frozenset({_NUMERIC, _PRINTABLE, 0x14, _IA5})
# BIT STRING, SEQUENCE, and unassigned tags of ASN.1.
_LOADED = frozenset({der.BIT_STRING, 0x07, 0x08, 0x09, 0x0B, 0x0D, 0x0E, 0x0F, der.SEQUENCE, 0x1D})

_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_PRINTABLE_OCTETS = _LETTERS + b" '()+,-./:=?"

# RFC 4514, section 3.
_SHORT = {
    COMMON_NAME: "CN",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.6": "C",
    "2.5.4.9": "STREET",
    "0.9.2342.19200300.100.1.25": "DC",
    "0.9.2342.19200300.100.1.1": "UID",
}
_ESCAPES = str.maketrans({character: f"\\{character}" for character in '\\"+,;<>'} | {"\0": "\\00"})


class DistinguishedName(NamedTuple):
    """A name: its text as in RFC 4514, and its first common name.

    Oddities: `unreadable` text, which OpenSSL cannot load; `forbidden` characters, which Chromium
    rejects; `unusual` ones, which every client accepts. Each is a clause, or empty.
    """

    text: str
    common_name: str | None
    unreadable: str
    forbidden: str
    unusual: str


def read_name(name: bytes) -> DistinguishedName:
    """Returns the content of `name` (DER). Raises NotDer."""
    reader = _read if len(name) <= _MOST_REMEMBERED_OCTETS else _read.__wrapped__
    return reader(name)


@lru_cache(maxsize=256)
def _read(name: bytes) -> DistinguishedName:
    sets = []
    common_name = None
    oddities = {"unreadable": "", "forbidden": "", "unusual": ""}
    for tag, start, stop in der.members(name):
        if tag != der.SET:
            raise NotDer("a SET is missing")
        attributes = []
        if start == stop:
            oddities["forbidden"] = "a part without an attribute"
        for attribute in der.parts(name, start, stop):
            oid, value, odd = _attribute(name, attribute)
            attributes.append(f"{_SHORT.get(oid, oid)}={_escaped(value)}")
            if oid == COMMON_NAME and common_name is None and isinstance(value, str):
                common_name = value
            if odd:
                oddities[odd[0]] = odd[1]
        sets.append("+".join(attributes))
    return DistinguishedName(",".join(reversed(sets)), common_name, **oddities)


def _attribute(name: bytes, part: der.Part) -> tuple[str, str | bytes, tuple[str, str] | None]:
    """Returns type, value, and the oddities of the value."""
    tag, start, stop = part
    inner = der.parts(name, start, stop)
    if tag != der.SEQUENCE or len(inner) != 2:
        raise NotDer("an attribute does not have two parts")
    kind, at, end = inner[1]
    octets = name[at:end]
    oid = der.oid(name, inner[0])
    if kind == _UTF8:
        try:
            return oid, octets.decode(), None
        except UnicodeDecodeError:
            unreadable = ("unreadable", "a UTF8String that is not UTF-8")
            return oid, octets.decode("utf-8", "replace"), unreadable
    if kind in _LATIN_1:
        return oid, octets.decode("latin-1"), _odd_octets(kind, octets)
    if kind in (_BMP, _UNIVERSAL):
        return oid, *_wide(octets, 2 if kind == _BMP else 4)
    # RFC 4514, 2.4: a value of another type is shown as its encoding.
    encoded = octets if kind == der.BIT_STRING else name[inner[0][2] : end]
    is_loaded = kind in _LOADED and (kind != der.BIT_STRING or b"" < octets < b"\x08")
    return oid, encoded, None if is_loaded else ("unreadable", "a value that is not text")


def _odd_octets(kind: int, octets: bytes) -> tuple[str, str] | None:
    if kind == _PRINTABLE and (others := octets.translate(None, _PRINTABLE_OCTETS)):
        if not others.strip(b"*"):
            return "unusual", "«*» in a PrintableString"
        other = others.replace(b"*", b"")[:1].decode("latin-1")
        return "forbidden", f"«{other}» in a PrintableString"
    if kind == _NUMERIC and octets.translate(None, b" 0123456789"):
        return "forbidden", "a NumericString with characters other than digits and spaces"
    if kind == _IA5 and not octets.isascii():
        return "forbidden", "a non-ASCII octet in an IA5String"
    return None


def _wide(octets: bytes, width: int) -> tuple[str, tuple[str, str] | None]:
    """Returns the text of a BMPString (`width` 2) or a UniversalString (4)."""
    ends = range(width, len(octets) + 1, width)
    points = [int.from_bytes(octets[end - width : end]) for end in ends]
    sound = [point < 0xD800 or 0xDFFF < point < 0x110000 for point in points]
    text = "".join(
        chr(point) if is_valid else "�" for point, is_valid in zip(points, sound, strict=True)
    )
    if all(sound) and len(octets) % width == 0:
        return text, None
    kind = "BMPString" if width == 2 else "UniversalString"
    return text, ("unreadable", f"a {kind} that is not Unicode")


def _escaped(value: str | bytes) -> str:
    """Returns `value` escaped as in RFC 4514, 2.4."""
    if isinstance(value, bytes):
        return f"#{value.hex()}" if value else ""
    text = value.translate(_ESCAPES)
    if text[:1] == "#" or (text[:1] == " " and len(text) > 1):
        text = f"\\{text}"
    return f"{text[:-1]}\\ " if text[-1:] == " " else text
