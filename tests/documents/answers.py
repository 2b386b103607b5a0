"""Compares what a command printed with the printed answer."""

import re

_ELLIPSIS = "…"
# Patterns of the text that differs from run to run, and their replacements.
_VARIABLE = (
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?"), "TIME"),
    (re.compile(r"\b\d{4}-\d\d-\d\d\b"), "DATE"),
    (re.compile(r"\bccert_(operator|user|terminator)_(\d+)_\w+"), r"ccert_\1_\2_SECRET"),
    (re.compile(r"\bwhsec_[\w+/=]+"), "whsec_SECRET"),
    (re.compile(r"\b[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){7,}\b"), "HEX"),
    (re.compile(r"\b[0-9a-fA-F]{16,}\b"), "HEX"),
)


def agrees(printed: str, actual: str, *, is_json: bool) -> bool:
    """Returns whether `actual` is the `printed` answer, apart from times, hashes and secrets.

    "…" in the printed answer stands for any text. White space does not count in JSON.
    """
    shape = (_json if is_json else _text)(printed)
    parts = [re.escape(part.strip() if not is_json else part) for part in shape.split(_ELLIPSIS)]
    pattern = r"\s*.*?\s*".join(parts) if len(parts) > 1 else parts[0]
    return bool(re.fullmatch(pattern, (_json if is_json else _text)(actual), re.DOTALL))


def _json(text: str) -> str:
    return re.sub(r"\s", "", _constant(text))


def _text(text: str) -> str:
    return "\n".join(line.rstrip() for line in _constant(text).splitlines()).strip()


def _constant(text: str) -> str:
    for pattern, name in _VARIABLE:
        text = pattern.sub(name, text)
    return text
