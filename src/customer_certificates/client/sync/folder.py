"""A folder whose files change all at once or not at all, and that one process keeps."""

import ctypes
import fcntl
import os
import pwd
import shutil
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

# From here on, everything that waits to be written is written in one go.
_MANY = 16
_LOCK = "lock"
_STAGING = ".staging"
_libc = ctypes.CDLL(None, use_errno=True)


class FolderError(Exception):
    """The folder cannot be kept; the message says why."""


class Folder:
    """Files in `root`, each of mode 0600 in folders of mode 0700.

    What is written is staged beside its place; `switch` makes all of it durable and only then puts
    it where it belongs, in the order in which it was staged. Whoever opens a path sees the file
    before or the file after. All paths are relative to `root`.
    """

    def __init__(self, root: Path, owner: str | None = None) -> None:
        """Makes `root` where it is missing, and takes it; all files belong to `owner` if given.

        Raises FolderError where another agent has it, or where it cannot be written to.
        """
        self.root = root
        # There are a hundred thousand paths to make, and these are made four times as fast.
        self._prefix = f"{root}/"
        self._staging = f"{root}/{_STAGING}"
        self._staged: list[_Staged] = []
        self._known: set[str] = set()
        self._made: set[str] = set()
        self._grown: set[str] = set()
        self._number = 0
        try:
            self._account = pwd.getpwnam(owner) if owner else None
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _taken(root / _LOCK)
            with suppress(FileNotFoundError):
                shutil.rmtree(self._staging)
            os.mkdir(self._staging, 0o700)
            for folder in (str(root), self._staging):
                self._give(folder)
        except KeyError:
            raise FolderError(f"There is no account {owner}.") from None
        except OSError as error:
            raise FolderError(f"{root} cannot be written to: {error.strerror or error}") from None

    def close(self) -> None:
        """Lets another agent have it."""
        os.close(self._lock)

    def write(self, path: str, data: bytes) -> None:
        """Stages a file."""
        with self.writer(path) as write:
            write(data)

    def writer(self, path: str) -> "_Writer":
        """The same for a file that is written piece by piece, within a `with`."""
        return _Writer(self._next(), lambda staged: self._stage(staged, path, has_content=True))

    def link(self, old: str, path: str) -> None:
        """Stages a second name for a file that is there; FileNotFoundError where it is not."""
        staged = self._next()
        os.link(self._prefix + old, staged)
        self._stage(staged, path, may_be_same=True)

    def symlink(self, target: str, path: str) -> None:
        """Stages a symbolic link to `target`."""
        staged = self._next()
        os.symlink("../" * path.count("/") + target, staged)
        self._stage(staged, path)

    def folder_of_links(self, path: str, targets: dict[str, str]) -> None:
        """Stages a folder of symbolic links, by name; nothing happens where it is there already."""
        if path in self._made or os.path.isdir(self._prefix + path):
            return
        self._made.add(path)
        staged = self._next()
        os.mkdir(staged, 0o700)
        up = "../" * (path.count("/") + 1)
        for name, target in targets.items():
            os.symlink(up + target, f"{staged}/{name}")
        self._stage(staged, path)

    def switch(self) -> None:
        """Puts everything that was staged into its place. Raises OSError; then it is forgotten."""
        try:
            self._flush([one.file for one in self._staged if one.has_content])
            for one in self._staged:
                os.replace(one.file, one.place)
                if one.may_be_same:
                    # Of two names for one file rename(2) leaves both.
                    with suppress(FileNotFoundError):
                        os.unlink(one.file)
            self._flush({os.path.dirname(one.place) for one in self._staged} | self._grown)
        except OSError:
            self.forget()
            raise
        self._staged.clear()
        self._made.clear()
        self._grown.clear()

    def forget(self) -> None:
        """Drops what was staged."""
        for one in self._staged:
            self.remove(f"{_STAGING}/{os.path.basename(one.file)}")
        self._staged.clear()
        self._made.clear()

    def remove(self, path: str) -> None:
        """Removes a file, or a folder of links. What is not there is fine."""
        with suppress(FileNotFoundError):
            try:
                os.unlink(self._prefix + path)
            except IsADirectoryError:
                shutil.rmtree(self._prefix + path)

    def _stage(
        self, staged: str, path: str, *, has_content: bool = False, may_be_same: bool = False
    ) -> None:
        self._give(staged)
        folder = os.path.dirname(path)
        if folder and folder not in self._known:
            self._make(folder)
        self._staged.append(_Staged(staged, self._prefix + path, has_content, may_be_same))

    def _make(self, folder: str) -> None:
        """Makes `folder` and what it is in."""
        above = os.path.dirname(folder)
        if above and above not in self._known:
            self._make(above)
        with suppress(FileExistsError):
            os.mkdir(self._prefix + folder, 0o700)
            self._give(self._prefix + folder)
            self._grown.add(self._prefix + above)
        self._known.add(folder)

    def _next(self) -> str:
        self._number += 1
        return f"{self._staging}/{self._number}"

    def _give(self, path: str) -> None:
        if self._account:
            os.chown(path, self._account.pw_uid, self._account.pw_gid, follow_symlinks=False)

    def _flush(self, paths: Collection[str]) -> None:
        if len(paths) > _MANY:
            self._flush_all()
            return
        for path in paths:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _flush_all(self) -> None:
        """syncfs(2): one wait for all files, where fsync would have one for each."""
        if _libc.syncfs(self._lock) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


class _Staged(NamedTuple):
    """A file that waits for its place. `has_content`: it is no link and no folder; `may_be_same`:
    it may be what is there already, under another name."""

    file: str
    place: str
    has_content: bool
    may_be_same: bool


class _Writer:
    """A file that is being written to `path`, and handed to `done` once it is whole."""

    def __init__(self, path: str, done: Callable[[str], None]) -> None:
        self._path = path
        self._done = done

    def __enter__(self) -> Callable[[bytes], int]:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(descriptor, "wb")
        return self._file.write

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._file.close()
        except OSError:
            # Of a full disk the last bytes say so.
            os.unlink(self._path)
            raise
        if kind:
            os.unlink(self._path)
        else:
            self._done(self._path)


def is_kept(root: Path) -> bool:
    """Whether an agent has the folder `root` now."""
    with suppress(FileNotFoundError), (root / _LOCK).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def shard(name: str) -> str:
    """One of 256 folders for `name`, so that none has a hundred thousand entries."""
    return f"{crc32(name.encode()) & 0xFF:02x}"


def _taken(path: Path) -> int:
    """The locked file, which holds the process's number."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        other = os.read(descriptor, 20).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise FolderError(f"Another agent (process {other}) keeps {path.parent}.") from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
