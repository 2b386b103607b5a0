"""A folder with atomic changes, locked by one process."""

import ctypes
import fcntl
import grp
import os
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from .directory import Directory, UntrustedError, set_access
from .trusted_path import open_own

# For more files, one syncfs is faster than an fsync for each.
_MANY = 16
_LOCK = "lock"
_STAGING = ".staging"
_STATE = "state.sqlite3"
_libc = ctypes.CDLL(None, use_errno=True)


class FolderError(Exception):
    """The folder cannot be used; the message says why."""


class Folder:
    """Files in `root`, which only the agent's account can write to. A group may read them.

    Files have mode 0600 and folders 0700; with a group, 0640 and 0750. The agent's own files (lock,
    state, status) are readable by nobody else.

    New files are staged first. `switch` makes all of them durable, and then moves them to their
    places in the order of staging. A reader sees either the old file or the new file. All paths are
    relative to `root`.
    """

    def __init__(self, root: Path, group: str | None = None) -> None:
        """Creates `root` if it is missing, and locks it. `group` may read served files.

        Raises FolderError if another agent uses the folder, if another account could change it, or
        if it is not writable.
        """
        self.root = root
        self._group = _group_id(group)
        self._staged: list[_Staged] = []
        self._existing_folders: set[str] = set()
        self._made: set[str] = set()
        self._changed_folders: set[str] = set()
        self._number = 0
        with ExitStack() as stack:
            try:
                self._directory = Directory(open_own(root), root, os.geteuid())
                stack.callback(self._directory.close)
                self._lock = _locked(self._directory, root)
                stack.callback(os.close, self._lock)
                self._set_root_access(group)
                self._directory.remove(_STAGING)
                self._directory.mkdir(_STAGING)
                self._staging = self._directory.subdirectory(_STAGING)
                stack.callback(self._staging.close)
            except UntrustedError as error:
                raise FolderError(str(error)) from None
            except OSError as error:
                reason = error.strerror or error
                raise FolderError(f"{root} cannot be written to: {reason}") from None
            self._held = stack.pop_all()

    def close(self) -> None:
        """Releases the lock, so that another agent can use the folder."""
        self._held.close()

    @property
    def access(self) -> str:
        """The id of the group that may read the files, or an empty string."""
        return "" if self._group is None else str(self._group)

    def grant_access(self) -> None:
        """Gives all existing files to the group, or removes group access.

        Raises OSError; UntrustedError if there is an entry that no agent creates.
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
        """Returns the path of the agent's database. Creates a missing file.

        Raises OSError; UntrustedError if the agent did not create the file or one of SQLite's
        companion files.
        """
        os.close(self._directory.open_only_name(_STATE, os.O_RDWR | os.O_CREAT))
        for name in (f"{_STATE}-wal", f"{_STATE}-shm", f"{_STATE}-journal"):
            with suppress(FileNotFoundError):
                os.close(self._directory.open_only_name(name))
        # SQLite opens files by their paths. No other account can redirect this one.
        return self.root / _STATE

    def exists(self, path: str) -> bool:
        """Returns whether there is a file, a folder or a link at `path`."""
        return self._directory.stat(path) is not None

    def read(self, path: str) -> bytes:
        """Returns the content of a file. Raises OSError."""
        return self._directory.read(path)

    def replace_own(self, name: str, data: bytes) -> None:
        """Writes a file immediately that only the agent can read. Raises OSError."""
        staged = self._next()
        with os.fdopen(self._staging.create(staged), "wb") as file:
            file.write(data)
        self._staging.replace(staged, self._directory, name)

    def write(self, path: str, data: bytes) -> None:
        """Stages a file."""
        with self.writer(path) as write:
            write(data)

    @contextmanager
    def writer(self, path: str) -> Iterator[Callable[[bytes], int]]:
        """Yields a function that writes a part of a file. Stages the file at the end."""
        staged = self._next()
        try:
            with os.fdopen(self._staging.create(staged), "wb") as file:
                yield file.write
                # Flush here, because a full disk may fail only on the last bytes.
                file.flush()
                if self._group is not None:
                    set_access(file.fileno(), self._group, self._mode(is_folder=False))
                self._stage(staged, path, has_content=True)
        except BaseException:
            self._staging.remove(staged)
            raise

    def link(self, old: str, path: str) -> None:
        """Stages a hard link to an existing file. Raises FileNotFoundError."""
        staged = self._next()
        self._directory.link(old, self._staging, staged)
        self._stage(staged, path, may_be_same=True)

    def symlink(self, target: str, path: str) -> None:
        """Stages a symbolic link to `target`."""
        staged = self._next()
        self._staging.symlink("../" * path.count("/") + target, staged)
        self._stage(staged, path)

    def folder_of_links(self, path: str, targets: dict[str, str]) -> None:
        """Stages a folder of symbolic links by name, unless it exists already."""
        up = "../" * (path.count("/") + 1)
        links = {name: up + target for name, target in targets.items()}
        if path in self._made or self._has_links(path, links):
            return
        # Remove a folder with other links: it cannot be replaced atomically.
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
        """Moves all staged entries to their places. On OSError, drops them and raises it."""
        try:
            self._flush(self._staging, [entry.file for entry in self._staged if entry.has_content])
            for entry in self._staged:
                self._staging.replace(entry.file, self._directory, entry.place)
                if entry.may_be_same:
                    # If both names are the same file, rename(2) keeps both.
                    self._staging.remove(entry.file)
            places = {os.path.dirname(entry.place) for entry in self._staged}
            self._flush(self._directory, places | self._changed_folders)
        except OSError:
            self.forget()
            raise
        self._staged.clear()
        self._made.clear()
        self._changed_folders.clear()

    def forget(self) -> None:
        """Drops all staged entries."""
        for entry in self._staged:
            self._staging.remove(entry.file)
        self._staged.clear()
        self._made.clear()
        # An existing folder may have been deleted.
        self._existing_folders.clear()

    def remove(self, path: str) -> None:
        """Removes a file or a folder of links, if it exists."""
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
        if folder and folder not in self._existing_folders:
            self._make(folder)
        self._staged.append(_Staged(staged, path, has_content, may_be_same))

    def _make(self, folder: str) -> None:
        above = os.path.dirname(folder)
        if above and above not in self._existing_folders:
            self._make(above)
        with suppress(FileExistsError):
            self._directory.mkdir(folder)
            self._directory.set_access(folder, self._group, self._mode(is_folder=True))
            self._changed_folders.add(above)
        self._existing_folders.add(folder)

    def _next(self) -> str:
        self._number += 1
        return f"{self._number}"

    def _mode(self, *, is_folder: bool) -> int:
        if self._group is None:
            return 0o700 if is_folder else 0o600
        return 0o750 if is_folder else 0o640

    def _set_root_access(self, group: str | None) -> None:
        descriptor = self._directory.descriptor
        # Keep the owner's mode: a read-only folder was made so on purpose.
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
        if _libc.syncfs(self._lock) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


class _Staged(NamedTuple):
    """A staged entry.

    `has_content`: the entry is a file, not a link or a folder. `may_be_same`: the entry may be a
    hard link to the file at its place.
    """

    file: str
    place: str
    has_content: bool
    may_be_same: bool


def is_in_use(root: Path) -> bool:
    """Returns whether an agent is using the folder `root`. Raises OSError."""
    with suppress(FileNotFoundError), closing(Directory.to_read(root)) as directory:
        descriptor = directory.open(_LOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
    return False


def shard(name: str) -> str:
    """Returns one of 256 folder names for `name`, to keep folders small."""
    return f"{crc32(name.encode()) & 0xFF:02x}"


def _group_id(group: str | None) -> int | None:
    try:
        return grp.getgrnam(group).gr_gid if group else None
    except KeyError:
        raise FolderError(f"There is no group {group}.") from None


def _locked(directory: Directory, root: Path) -> int:
    """Locks the lock file and writes the process id. Returns its descriptor."""
    descriptor = directory.open_only_name(_LOCK, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        other = os.read(descriptor, 20).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise FolderError(
            f"Another agent (process {other}) is using {root}. Stop it, or choose another folder."
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
