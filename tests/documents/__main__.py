"""Runs a document, and prints or writes the answers that differ from the printed ones.

python -m tests.documents README.md [--write]
"""

import re
import sys
import tempfile
from pathlib import Path

from .session import Session
from .steps import steps_of

# Nobody reads it, so the page shows its first line alone.
_PEM = re.compile(r"(-----BEGIN CERTIFICATE-----)[^\"]+")


def _is_complete(answer: str) -> bool:
    """Returns whether the answer is printed in full. Only a person can shorten another one."""
    return "…" not in answer.replace("-----BEGIN CERTIFICATE-----…", "")


def main() -> None:
    """Without `--write` the document stays as it is."""
    path = Path(sys.argv[1])
    text = path.read_text()
    changes: list[tuple[tuple[int, int], str]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder, logs = Path(temporary, "customer-certificates"), Path(temporary, "logs")
        folder.mkdir()
        logs.mkdir()
        session = Session(folder, logs)
        try:
            for step in steps_of(path):
                answer = session.run(step)
                if answer is not None:
                    print(f"{path}:{step.line}\n{answer}\n")
                    if step.span and _is_complete(step.answer or ""):
                        changes.append(
                            (
                                step.span,
                                "\n".join(line.rstrip() for line in answer.strip("\n").splitlines())
                                + "\n",
                            )
                        )
        finally:
            session.close()
            if "--write" in sys.argv:
                for (begin, end), answer in reversed(changes):
                    text = text[:begin] + _PEM.sub(r"\1…", answer) + text[end:]
                path.write_text(text)


main()
