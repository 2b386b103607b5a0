"""Finds private keys in a text that others will be able to read."""

import base64
import binascii
import re
from collections.abc import Container, Iterator
from contextlib import suppress
from itertools import islice

from ..asn1 import ber
from ..asn1.ber import NotBer
from ..asn1.pbe import UnknownAlgorithm
from ..pem.reader import PemRead
from .formats import NotAKey, format_of

# A key that was typed by hand or damaged by an editor still counts as a private key.
_HEADING = re.compile(
    r"BEGIN\b[^\n]{0,60}?PRIVATE[\W_]{0,4}KEY|DEK-Info:\s*[A-Z0-9-]+,[0-9A-F]*", re.IGNORECASE
)
_NEXT_MARK = re.compile(r"(?<![A-Za-z0-9+/=])(?:BEGIN|END)(?![A-Za-z0-9+/=])", re.IGNORECASE)
_BASE64 = r"[A-Za-z0-9+/_-]"
# Characters between lines of base64: line ends (also escaped), quotes, comment prefixes.
_BETWEEN = r"(?:\\+[nr]|//\s|[\s\"'`>#*|,;])"
_RUN = re.compile(
    rf"(?:{_BASE64}{{16,}}+={{0,2}}+{_BETWEEN}{{0,12}}+)++(?:{_BASE64}{{1,15}}={{0,2}})?"
)
_START = re.compile(rf"(?<!{_BASE64})M{_BASE64}{{15}}")
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]+")
# Between a heading and the first line of its key.
_GAP = re.compile(r"(?:[\W_]|(?<=\\)[nr])*+")
# An Ed25519 key has 64 characters; the digest of a certificate has 44.
_SHORTEST_KEY = 60
_MOST_RUNS = 100
_MOST_STARTS = 3
_URL_SAFE = str.maketrans("-_", "+/")


def has_private_key(read: PemRead, certificates: Container[bytes]) -> bool:
    """Returns whether a text contains a private key. Never raises.

    `read` is the PEM that was found in the text, and `certificates` (DER) are those in it. A key
    counts with any heading or none, and also in base64 again. A heading alone does not count.
    Deliberately hidden keys are not found.
    """
    for block in read.blocks:
        if block.label.endswith("PRIVATE KEY") or (
            block.der not in certificates and _is_key(block.der)
        ):
            return True
    if _has_headed_key(read.rest):
        return True
    return any(
        _is_key(decoded) or _has_headed_key(decoded.decode("latin-1"))
        for decoded in _decoded_runs(read.rest)
    )


def _has_headed_key(text: str) -> bool:
    """Returns whether base64 directly follows the heading of a private key."""
    limit = len(text)
    for heading in reversed(list(_HEADING.finditer(text))):
        gap = _GAP.match(text, heading.end(), limit)
        start = gap.end() if gap else heading.end()
        mark = _NEXT_MARK.search(text, start, limit)
        run = _RUN.match(text, start, mark.start() if mark else limit)
        if run and _looks_random(re.sub(_BETWEEN, "", run[0])):
            return True
        limit = heading.start()
    return False


def _looks_random(word: str) -> bool:
    """Returns whether `word` may be base64, not words, a path or a hexadecimal digest."""
    return (
        len(word) >= _SHORTEST_KEY
        and any(map(str.isdigit, word))
        and word.count("/") < len(word) / 8
        and not _HEXADECIMAL.fullmatch(word)
    )


def _decoded_runs(text: str) -> Iterator[bytes]:
    """Yields decoded base64 that may start in `text`."""
    for number, run in enumerate(_RUN.finditer(text)):
        if number == _MOST_RUNS:
            break
        words = islice(_START.finditer(run[0]), _MOST_STARTS)
        for start in (0, *(word.start() for word in words)):
            encoded = re.sub(_BETWEEN, "", run[0][start:]).translate(_URL_SAFE)
            # The last line may lack its padding, or be a word that follows the key.
            with suppress(binascii.Error):
                yield base64.b64decode(encoded[: len(encoded) // 4 * 4])
                yield base64.b64decode(encoded.ljust(-(-len(encoded) // 4) * 4, "="))


def _is_key(data: bytes) -> bool:
    try:
        format_of(bytes(ber.first(data).encoded))
    except UnknownAlgorithm:  # it is encrypted
        return True
    except (NotBer, NotAKey):
        return False
    return True
