"""Prints text. `escaped` is the one function that makes text safe to show in a terminal."""

import json
import sys


def escaped(text: str) -> str:
    """Returns `text` with escapes for characters that are unsafe in a terminal.

    Control characters (C0, C1), bidirectional and invisible ones, line breaks and lone surrogates
    become escapes of JSON, so JSON stays the same JSON.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def escaped_lines(text: str) -> str:
    """Returns `text` escaped like `escaped`, but keeps its line breaks."""
    return "\n".join(map(escaped, text.split("\n")))


def show(text: str, *, end: str = "\n") -> None:
    """Prints the result of a command, which may have several lines."""
    print(escaped_lines(text), end=end)


def show_json(value: object) -> None:
    """Prints the result of a command as JSON."""
    import msgspec

    show(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def note(text: str) -> None:
    """Prints a message on standard error, apart from the result."""
    print(escaped_lines(text), file=sys.stderr, flush=True)


def say(sentence: str) -> None:
    """Prints a line of the log on standard error; line breaks become spaces."""
    note(f"customer-certificates: {' '.join(sentence.split())}")
