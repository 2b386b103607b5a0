"""Whether a private key stands in a text that is going to be shown."""

import re
from collections.abc import Container, Iterator, Sequence

from .ber import NotBer
from .key_forms import NotAKey, form_of
from .keys import unarmoured
from .pbe import UnknownAlgorithm
from .pem import Block

# Typed by hand, or mangled by an editor, it is a private key all the same.
_HEADING = re.compile(r"BEGIN\b[^\n]{0,60}?PRIVATE[\W_]{0,4}KEY", re.IGNORECASE)
_BASE64_LINES = re.compile(r"(?:^[ \t]*[A-Za-z0-9+/]{16,}={0,2}[ \t]*$\n?)+", re.MULTILINE)
_MOST_RUNS = 100


def has_private_key(text: str, blocks: Sequence[Block], certificates: Container[bytes]) -> bool:
    """Whether `text`, in which these PEM `blocks` were found, some of them `certificates` (DER),
    has a private key in it; never raises. What somebody took pains to hide is not found."""
    ders = {block.der for block in blocks}
    if _HEADING.search(text) or any(_is_key(der) for der in ders if der not in certificates):
        return True
    for decoded in _decoded(text):
        if decoded in ders:
            continue
        if _is_key(decoded) or _HEADING.search(decoded.decode("latin-1")):
            return True
    return False


def _decoded(text: str) -> Iterator[bytes]:
    """What stands there in base64."""
    for number, run in enumerate(_BASE64_LINES.finditer(text)):
        if number == _MOST_RUNS:
            break
        decoded = unarmoured(run[0].encode())
        if decoded:
            yield decoded


def _is_key(der: bytes) -> bool:
    try:
        form_of(der)
    except (NotBer, NotAKey):
        return False
    except UnknownAlgorithm:
        return True
    return True
