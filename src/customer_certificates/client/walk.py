"""Which files are under the paths that somebody named."""

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

# What is larger cannot be uploaded either.
LARGEST_FILE_BYTES = 256 * 1024

# Where ACME clients put what they have replaced: certbot and getssl, lego, acme.sh.
_OLDER_VERSIONS = {"archive", "archives", "backup"}
_NAMES = (".pem", ".crt", ".cer", ".der", ".key", ".p12", ".pfx")
# dehydrated leaves older versions beside cert.pem, which is a link to the newest.
_DATED = re.compile(r"(cert|chain|fullchain|privkey)-[0-9]+\.(pem|csr)")


@dataclass(frozen=True, slots=True)
class File:
    """A file to look into. `is_named`: its path was given, it was not come upon in a folder."""

    path: Path
    is_named: bool
    root: Path


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A file or folder that cannot be looked into, and why, in words."""

    path: Path
    is_named: bool
    reason: str


@dataclass(slots=True)
class Walked:
    """What was come upon. `passed_over` are folders that were left out on purpose, with reasons."""

    files: list[File] = field(default_factory=list)
    obstacles: list[Obstacle] = field(default_factory=list)
    passed_over: list[tuple[Path, str]] = field(default_factory=list)


def walk(paths: Sequence[Path]) -> Walked:
    """Every file of `paths`, which are files and folders; each file and folder once.

    Links to files are followed wherever they lead; links to folders only within the folder that
    was named, so that a link to / does not search a whole machine. Nothing but regular files is
    ever opened.
    """
    walked = Walked()
    seen: set[tuple[int, int]] = set()
    # Files first: one that is named, and come upon in a folder as well, counts as named.
    for root in sorted(paths, key=os.path.isdir):
        waiting = [root]
        while waiting:
            path = waiting.pop()
            try:
                waiting += _visit(path, root, walked, seen)
            except OSError as error:
                walked.obstacles.append(Obstacle(path, path == root, _reason(path, error)))
    return walked


def is_expected(path: Path) -> bool:
    """Whether a file of this name should hold certificates or keys.

    Of others that cannot be read not a word is said: a folder may be full of them.
    """
    return path.suffix.lower() in _NAMES


def _visit(path: Path, root: Path, walked: Walked, seen: set[tuple[int, int]]) -> list[Path]:
    """Notes what `path` is; the entries to visit next where it is a folder. Raises OSError."""
    is_named = path == root
    try:
        status = path.stat()
    except OSError:
        if is_named or is_expected(path):
            raise
        return []
    identity = (status.st_dev, status.st_ino)
    if identity in seen:
        return []
    if stat.S_ISDIR(status.st_mode):
        if not is_named and (reason := _reason_to_pass(path, root)):
            walked.passed_over.append((path, reason))
            return []
        entries = _entries(path)
        seen.add(identity)
        return entries
    seen.add(identity)
    if not stat.S_ISREG(status.st_mode):
        reason = "it is neither a file nor a folder"
    elif status.st_size > LARGEST_FILE_BYTES:
        reason = f"it is larger than {LARGEST_FILE_BYTES // 1024} KiB"
    else:
        walked.files.append(File(path, is_named, root))
        return []
    # Folders hold many such things, none of which anybody takes for a certificate.
    if is_named:
        walked.obstacles.append(Obstacle(path, is_named, reason))
    return []


def _reason_to_pass(folder: Path, root: Path) -> str | None:
    if folder.name in _OLDER_VERSIONS:
        return "older versions"
    if folder.is_symlink() and not folder.resolve().is_relative_to(root.resolve()):
        return f"a link to a folder outside {root}"
    return None


def _entries(folder: Path) -> list[Path]:
    """What is in `folder` and may count, last name first, as it is taken from the end."""
    names = os.listdir(folder)
    if "cert.pem" in names and (folder / "cert.pem").is_symlink():
        names = [name for name in names if not _DATED.fullmatch(name)]
    return [folder / name for name in sorted(names, reverse=True)]


def _reason(path: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError) and path.is_symlink():
        return "the link leads nowhere"
    return f"it cannot be read: {error.strerror}"
