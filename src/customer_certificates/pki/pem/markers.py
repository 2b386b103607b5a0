"""Finds where PEM blocks begin and end (RFC 7468). All readers share these rules."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Editors and web pages insert these anywhere: byte order marks, soft hyphens, zero-width spaces,
# direction marks.
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]+")
_BLANKS = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_LINE_ENDS = re.compile("[\u0085\u2028\u2029]")

# Every pattern takes linear time: it begins with fixed text, or its repetitions stop at a mark.
_MARK = re.compile(r"-----(?:(?P<begin>BEGIN)|END) (?P<label>[^\n-]{1,64})-----")
_ESCAPED_NEWLINE = re.compile(r"(?<!\\)\\++(?:r(?:\\++n)?|n)")
_ESCAPED_IN_A_BLOCK = re.compile(r"-----BEGIN [^\n-]{1,64}-----[ \t]*\\++[rn]")
QUOTES = "\"'`"
_VISIBLE = re.compile(rf"[^\s{QUOTES}]")
_LINE_IS_OVER = re.compile(rf"[ \t{QUOTES}]*(?:\n|\Z|-----)")
_CONTENT = re.compile(rf"[\s{QUOTES}]*+(?:Proc-Type:|[A-Za-z0-9+/=]{{20}})")


@dataclass(frozen=True, slots=True)
class Mark:
    """A BEGIN or END line, from `start` to `end` in the text; `line` counts from 1."""

    is_begin: bool
    label: str
    start: int
    end: int
    line: int


def is_pem(data: bytes) -> bool:
    """Returns whether `data` contains a PEM block, or text that looks like one."""
    return b"-----BEGIN" in data


def plain_text(text: str) -> tuple[str, bool]:
    """Returns `text` with plain line ends, and whether its newlines were escaped twice.

    The only line end is `\\n` then. Invisible characters are removed; all kinds of blanks become
    spaces.
    """
    if not text.isascii():
        text = _INVISIBLE.sub("", text)
        text = _LINE_ENDS.sub("\n", _BLANKS.sub(" ", text))
    is_escaped = bool(_ESCAPED_IN_A_BLOCK.search(text))
    if is_escaped:
        # JSON may escape the slash of base64 as well.
        text = _ESCAPED_NEWLINE.sub("\n", text).replace("\\/", "/")
    return text.replace("\r\n", "\n").replace("\r", "\n"), is_escaped


def marks(text: str) -> Iterator[Mark]:
    """Yields the marks in the plain `text` that count, in order.

    A BEGIN counts if it is alone on its line, or if base64 or an encryption header follows it. The
    text before it does not matter then: `END` of the previous block, an assignment, a comment. A
    BEGIN in a sentence does not count. Every END at the start of a line counts, and every END that
    closes a BEGIN.
    """
    line, counted, is_open = 1, 0, False
    before = 0
    for found in _MARK.finditer(text):
        start, end = found.span()
        line_start = max(before, text.rfind("\n", before, start) + 1)
        is_first = not _VISIBLE.search(text, line_start, start)
        before = end
        if found["begin"]:
            has_line = is_first and _LINE_IS_OVER.match(text, end)
            counts = bool(has_line or _CONTENT.match(text, end))
        else:
            counts = is_first or is_open
        if counts:
            line += text.count("\n", counted, start)
            counted = start
            is_open = bool(found["begin"])
            yield Mark(is_open, found["label"], start, end, line)
