"""A folder whose files change all at once or not at all, and that one process keeps."""

import ctypes
import fcntl
import grp
import os
import stat
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from .directory import Directory, UntrustedError, set_access
from .trusted_path import open_own

# From here on, everything that waits to be written is written in one go.
_MANY = 16
_LOCK = "lock"
_STAGING = ".staging"
_STATE = "state.sqlite3"
_libc = ctypes.CDLL(None, use_errno=True)


class FolderError(Exception):
    """The folder cannot be kept; the message says why."""


class Folder:
    """Files in `root`, which only the agent's account can write to. A group may read them.

    Files have mode 0600 and folders 0700; with a group, 0640 and 0750. The agent's own files (lock,
    state, status) are readable by nobody else.

    New files are staged beside their place; `switch` makes all of them durable and only then puts
    them where they belong, in the order in which they were staged. A reader that opens a path sees
    the file before or the file after. All paths are relative to `root`.
    """

    def __init__(self, root: Path, group: str | None = None) -> None:
        """Makes `root` if it is missing, and locks it; `group` may read what is served.

        Raises FolderError if another agent has the folder, if another account could change it, or
        if it cannot be written to.
        """
        self.root = root
        self._group = _group_id(group)
        self._staged: list[_Staged] = []
        self._known: set[str] = set()
        self._made: set[str] = set()
        self._grown: set[str] = set()
        self._number = 0
        with ExitStack() as stack:
            try:
                self._directory = Directory(open_own(root), root, os.geteuid())
                stack.callback(self._directory.close)
                self._lock = _locked(self._directory, root)
                stack.callback(os.close, self._lock)
                self._give_root(group)
                self._directory.remove(_STAGING)
                self._directory.mkdir(_STAGING)
                self._staging = self._directory.subdirectory(_STAGING)
                stack.callback(self._staging.close)
            except UntrustedError as error:
                raise FolderError(str(error)) from None
            except OSError as error:
                raise FolderError(
                    f"{root} cannot be written to: {error.strerror or error}"
                ) from None
            self._held = stack.pop_all()

    def close(self) -> None:
        """Lets another agent have it."""
        self._held.close()

    @property
    def access(self) -> str:
        """The id of the group that may read the files; empty if there is none."""
        return "" if self._group is None else str(self._group)

    def grant_access(self) -> None:
        """Gives all files that are there to the group, or takes them from any.

        Raises OSError; UntrustedError if there is anything that an agent does not make.
        """
        entries = [*self._directory.entries()]
        names = Counter(status.st_ino for _, status in entries)
        for path, status in entries:
            if stat.S_ISREG(status.st_mode) and status.st_nlink > names[status.st_ino]:
                raise UntrustedError(
                    f"{self.root / path} has a second name (hard link) outside of this folder. "
                    "The agent did not do this. Find out why, then delete it."
                )
        for path, status in entries:
            if stat.S_ISLNK(status.st_mode):
                continue
            mode = self._mode(is_folder=stat.S_ISDIR(status.st_mode))
            if path == _LOCK or path.startswith((_STATE, _STAGING)):
                mode &= 0o700
            self._directory.set_access(path, self._group, mode)

    def state_file(self) -> Path:
        """The path of the agent's database; makes a missing file.

        Raises OSError; UntrustedError if the agent did not make the file, or one that SQLite keeps
        beside it.
        """
        os.close(self._directory.open_only_name(_STATE, os.O_RDWR | os.O_CREAT))
        for name in (f"{_STATE}-wal", f"{_STATE}-shm", f"{_STATE}-journal"):
            with suppress(FileNotFoundError):
                os.close(self._directory.open_only_name(name))
        # SQLite opens files by their paths. No other account can redirect this one.
        return self.root / _STATE

    def exists(self, path: str) -> bool:
        """Whether there is a file, a folder or a link at `path`."""
        return self._directory.stat(path) is not None

    def read(self, path: str) -> bytes:
        """The content of a file. Raises OSError."""
        return self._directory.read(path)

    def replace_own(self, name: str, data: bytes) -> None:
        """Writes a file that only the agent's account can read, at once. Raises OSError."""
        staged = self._next()
        with os.fdopen(self._staging.create(staged), "wb") as file:
            file.write(data)
        self._staging.replace(staged, self._directory, name)

    def write(self, path: str, data: bytes) -> None:
        """Stages a file."""
        with self.writer(path) as write:
            write(data)

    def writer(self, path: str) -> "_Writer":
        """The same for a file that is written piece by piece, within a `with`."""

        def done(staged: str, descriptor: int) -> None:
            if self._group is not None:
                set_access(descriptor, self._group, self._mode(is_folder=False))
            self._stage(staged, path, has_content=True)

        return _Writer(self._staging, self._next(), done)

    def link(self, old: str, path: str) -> None:
        """Stages a second name for a file that is there; FileNotFoundError where it is not."""
        staged = self._next()
        self._directory.link(old, self._staging, staged)
        self._stage(staged, path, may_be_same=True)

    def symlink(self, target: str, path: str) -> None:
        """Stages a symbolic link to `target`."""
        staged = self._next()
        self._staging.symlink("../" * path.count("/") + target, staged)
        self._stage(staged, path)

    def folder_of_links(self, path: str, targets: dict[str, str]) -> None:
        """Stages a folder of symbolic links, by name; nothing happens where it is there already."""
        up = "../" * (path.count("/") + 1)
        links = {name: up + target for name, target in targets.items()}
        if path in self._made or self._has_links(path, links):
            return
        # One with other links was not made here, and a folder cannot be replaced in one step.
        self._directory.remove(path)
        self._made.add(path)
        staged = self._next()
        self._staging.mkdir(staged)
        for name, target in links.items():
            self._staging.symlink(target, f"{staged}/{name}")
        if self._group is not None:
            self._staging.set_access(staged, self._group, self._mode(is_folder=True))
        self._stage(staged, path)

    def switch(self) -> None:
        """Puts everything that was staged into its place. Raises OSError; then it is forgotten."""
        try:
            self._flush(self._staging, [one.file for one in self._staged if one.has_content])
            for one in self._staged:
                self._staging.replace(one.file, self._directory, one.place)
                if one.may_be_same:
                    # Of two names for one file rename(2) leaves both.
                    self._staging.remove(one.file)
            places = {os.path.dirname(one.place) for one in self._staged}
            self._flush(self._directory, places | self._grown)
        except OSError:
            self.forget()
            raise
        self._staged.clear()
        self._made.clear()
        self._grown.clear()

    def forget(self) -> None:
        """Drops what was staged."""
        for one in self._staged:
            self._staging.remove(one.file)
        self._staged.clear()
        self._made.clear()
        # A folder may be missing that was there.
        self._known.clear()

    def remove(self, path: str) -> None:
        """Removes a file, or a folder of links. What is not there is fine."""
        self._directory.remove(path)

    def _has_links(self, path: str, links: dict[str, str]) -> bool:
        try:
            return self._directory.links(path) == links
        except OSError:
            return False

    def _stage(
        self, staged: str, path: str, *, has_content: bool = False, may_be_same: bool = False
    ) -> None:
        self._directory.require_below(path)
        folder = os.path.dirname(path)
        if folder and folder not in self._known:
            self._make(folder)
        self._staged.append(_Staged(staged, path, has_content, may_be_same))

    def _make(self, folder: str) -> None:
        """Makes `folder` and what it is in."""
        above = os.path.dirname(folder)
        if above and above not in self._known:
            self._make(above)
        with suppress(FileExistsError):
            self._directory.mkdir(folder)
            self._directory.set_access(folder, self._group, self._mode(is_folder=True))
            self._grown.add(above)
        self._known.add(folder)

    def _next(self) -> str:
        self._number += 1
        return f"{self._number}"

    def _mode(self, *, is_folder: bool) -> int:
        if self._group is None:
            return 0o700 if is_folder else 0o600
        return 0o750 if is_folder else 0o640

    def _give_root(self, group: str | None) -> None:
        descriptor = self._directory.descriptor
        # An owner that may not write has been forbidden to.
        own = os.fstat(descriptor).st_mode & 0o700
        try:
            set_access(descriptor, self._group, own | self._mode(is_folder=True) & 0o077)
        except PermissionError:
            raise FolderError(
                f"The agent cannot give files to the group {group}. Run the agent as root, or as "
                "a member of the group."
            ) from None

    def _flush(self, directory: Directory, paths: Collection[str]) -> None:
        if len(paths) > _MANY:
            self._flush_all()
            return
        for path in paths:
            directory.sync(path)

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
    """A staged file that is being written, and handed to `done` once it is whole."""

    def __init__(self, directory: Directory, name: str, done: Callable[[str, int], None]) -> None:
        self._directory = directory
        self._name = name
        self._done = done

    def __enter__(self) -> Callable[[bytes], int]:
        self._file = os.fdopen(self._directory.create(self._name), "wb")
        return self._file.write

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        is_done = False
        try:
            with self._file:
                if not kind:
                    # Of a full disk the last bytes say so.
                    self._file.flush()
                    self._done(self._name, self._file.fileno())
                    is_done = True
        finally:
            if not is_done:
                self._directory.remove(self._name)


def is_kept(root: Path) -> bool:
    """Whether an agent has the folder `root` now. Raises OSError."""
    with suppress(FileNotFoundError), Directory.to_read(root) as directory:
        descriptor = directory.open(_LOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
    return False


def shard(name: str) -> str:
    """One of 256 folders for `name`, so that none has a hundred thousand entries."""
    return f"{crc32(name.encode()) & 0xFF:02x}"


def _group_id(group: str | None) -> int | None:
    try:
        return grp.getgrnam(group).gr_gid if group else None
    except KeyError:
        raise FolderError(f"There is no group {group}.") from None


def _locked(directory: Directory, root: Path) -> int:
    """The locked file, which holds the process's number."""
    descriptor = directory.open_only_name(_LOCK, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        other = os.read(descriptor, 20).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise FolderError(f"Another agent (process {other}) keeps {root}.") from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
