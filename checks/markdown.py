"""Checks every tracked Markdown file: links, anchors, and phrases that the docs no longer use.

`python -m checks.markdown` prints each problem as FILE:LINE and exits with 1 if there is one.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# Phrases of the project's earlier private language, in lower case. Code is not searched.
BANNED = [
    "a wrong one stops the start",
    "an operator's does",
    "are told",
    "at hand",
    "before a certificate ends",
    "by one door",
    "by turns",
    "cannot be accepted",
    "ends soon",
    "have to be told",
    "is never served without credentials again",
    "is not done here",
    "is told",
    "it is they who",
    "more than your share",
    "most people turn back",
    "needs none itself",
    "nothing, where",
    "says at once what is wrong",
    "second wall",
    "stops the start with a sentence",
    "tell others",
    "tell webhooks of events",
    "this is no token",
    "where those who connect",
    "who did what",
    "who has the database",
]
# Their links are checked, their words are not yet.
UNCHECKED = {"CHANGELOG.md"}
# A clause without a noun as the subject of a sentence or as a title: "What is recorded".
HEADLESS = re.compile(r"(?:^[\s#>*|-]*|[.!?:;|(]\s+)(What|Whoever|Who)\b(?!.*\?$)")
FENCE = re.compile(r"^\s*(```|~~~)")
INLINE_CODE = re.compile(r"`[^`]*`")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$")
HTML_ANCHOR = re.compile(r"<a (?:id|name)=\"([^\"]+)\"")
LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
HTML_LINK = re.compile(r"(?:href|src|srcset)=\"([^\"]+)\"")
EXTERNAL = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|//)", re.IGNORECASE)


def main() -> int:
    """Prints the problems of all files; returns 1 if there is one."""
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "*.md"], check=True, capture_output=True, text=True
    ).stdout
    files = [Path(name) for name in tracked.split("\0") if name and Path(name).exists()]
    found = [problem for file in files for problem in [*broken_links(file), *phrases(file)]]
    for problem in found:
        print(problem, file=sys.stderr)
    return int(bool(found))


def broken_links(file: Path) -> Iterator[str]:
    """Yields a line for each relative link that leads nowhere."""
    for number, line in prose(file):
        for target in [*LINK.findall(line), *HTML_LINK.findall(line)]:
            if reason := broken(file, target):
                yield f"{file}:{number}: {target}: {reason}"


def phrases(file: Path) -> Iterator[str]:
    """Yields a line for each banned phrase and each sentence without a subject."""
    if file.name in UNCHECKED:
        return
    for number, line in prose(file):
        words = INLINE_CODE.sub("", LINK.sub("]", line))
        if headless := HEADLESS.search(words):
            yield f'{file}:{number}: starts with "{headless[1]}": name the subject'
        for phrase in BANNED:
            if re.search(rf"\b{re.escape(phrase)}\b", words.lower()):
                yield f'{file}:{number}: "{phrase}": use the words of docs/reference/glossary.md'


def prose(file: Path) -> Iterator[tuple[int, str]]:
    """Yields the numbered lines of a file, without fenced code."""
    fenced = False
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        if FENCE.match(line):
            fenced = not fenced
        elif not fenced:
            yield number, line


def broken(file: Path, target: str) -> str | None:
    """Returns why a link leads nowhere, or None."""
    if EXTERNAL.match(target):
        return None
    path, _, anchor = target.partition("#")
    linked = file.parent / path if path else file
    if not linked.exists():
        return "no such file"
    if anchor and linked.suffix == ".md" and anchor not in anchors(linked):
        return "no such heading"
    return None


def anchors(file: Path) -> set[str]:
    """Returns the anchors of a file, as GitHub makes them from its headings."""
    found: set[str] = set()
    for _, line in prose(file):
        found.update(HTML_ANCHOR.findall(line))
        if heading := HEADING.match(line):
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).lower()
            slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
            count = 1
            unique = slug
            while unique in found:
                unique = f"{slug}-{count}"
                count += 1
            found.add(unique)
    return found


if __name__ == "__main__":
    sys.exit(main())
