"""Access to files below an open directory, without following links."""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote
from typing import Self

# Open without following links, and without blocking on a FIFO.
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_LARGEST_BYTES = 1 << 24
_UNEXPECTED = "The agent did not do this. Find out why, then"


class UntrustedError(OSError):
    """Another account created an entry or could change it; the message says what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(errno.EPERM, message)

    def __str__(self) -> str:
        return str(self.strerror)


class Directory:
    """The files and folders below an open descriptor, by paths relative to it.

    Each folder of a path is opened separately, never through a symbolic link. With an `owner`, only
    entries of that account are used, and only if nobody else can write to them.
    """

    def __init__(self, descriptor: int, path: Path, owner: int | None) -> None:
        """Takes ownership of `descriptor`. Messages show `path`."""
        self.descriptor = descriptor
        self._path = path
        self._owner = owner

    @classmethod
    def to_read(cls, path: Path) -> Self:
        """Opens the directory at `path`, of any owner. Raises OSError."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return cls(descriptor, path, None)

    def close(self) -> None:
        os.close(self.descriptor)

    def subdirectory(self, path: str) -> "Directory":
        """Opens a subfolder. Raises OSError."""
        with self._opened(path) as descriptor:
            return Directory(os.dup(descriptor), self._path / path, self._owner)

    def require_below(self, path: str) -> None:
        """Raises UntrustedError if `path` could leave the directory."""
        if "\0" in path or not {"", ".", ".."}.isdisjoint(path.split("/")):
            raise UntrustedError(f"{self._path}: {path!r} is not a path below this folder.")

    def create(self, path: str) -> int:
        """Creates a file with mode 0600. Returns a descriptor. Raises OSError."""
        with self._parent(path) as (folder, name):
            return os.open(name, _FILE | os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)

    def open(self, path: str, flags: int = os.O_RDONLY) -> int:
        """Opens a regular file. Returns a descriptor.

        Raises OSError; UntrustedError if the entry is not a regular file.
        """
        with self._parent(path) as (folder, name):
            try:
                descriptor = os.open(name, _FILE | flags, 0o600, dir_fd=folder)
            except OSError as error:
                # ELOOP: a symbolic link. ENXIO: a FIFO without a reader, or a socket.
                if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
                    raise self._untrusted(path, "is not a regular file") from None
                raise
            try:
                self._require_file(path, os.fstat(descriptor))
            except OSError:
                os.close(descriptor)
                raise
            return descriptor

    def open_only_name(self, path: str, flags: int = os.O_RDONLY) -> int:
        """Opens a regular file without other hard links."""
        descriptor = self.open(path, flags)
        if os.fstat(descriptor).st_nlink > 1:
            os.close(descriptor)
            raise self._untrusted(path, "has a second name (hard link)")
        return descriptor

    def read(self, path: str) -> bytes:
        """Returns the content of a regular file. Raises OSError."""
        with os.fdopen(self.open(path), "rb") as file:
            return file.read(_LARGEST_BYTES)

    def stat(self, path: str) -> os.stat_result | None:
        """Returns the status of `path` without following links, or None if missing.

        Raises OSError.
        """
        with suppress(FileNotFoundError), self._parent(path) as (folder, name):
            return os.stat(name, dir_fd=folder, follow_symlinks=False)
        return None

    def mkdir(self, path: str) -> None:
        """Creates a folder with mode 0700. Raises OSError."""
        with self._parent(path) as (folder, name):
            os.mkdir(name, 0o700, dir_fd=folder)

    def symlink(self, target: str, path: str) -> None:
        with self._parent(path) as (folder, name):
            os.symlink(target, name, dir_fd=folder)

    def links(self, path: str) -> dict[str, str]:
        """Returns the targets of a folder's symbolic links by name. Raises OSError."""
        with self._opened(path) as folder:
            return {name: os.readlink(name, dir_fd=folder) for name in os.listdir(folder)}

    def link(self, old: str, directory: "Directory", new: str) -> None:
        """Creates a hard link to a file in `directory`. Raises OSError."""
        with self._parent(old) as (source, name), directory._parent(new) as (target, place):
            self._require_file(old, os.stat(name, dir_fd=source, follow_symlinks=False))
            os.link(name, place, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)

    def replace(self, old: str, directory: "Directory", new: str) -> None:
        """Moves an entry to its place in `directory`. Raises OSError."""
        with self._parent(old) as (source, name), directory._parent(new) as (target, place):
            os.replace(name, place, src_dir_fd=source, dst_dir_fd=target)

    def remove(self, path: str) -> None:
        """Removes an entry if it exists, a folder with its content. Raises OSError."""
        with suppress(FileNotFoundError), self._parent(path) as (folder, name):
            try:
                os.unlink(name, dir_fd=folder)
            except IsADirectoryError:
                shutil.rmtree(name, dir_fd=folder)

    def set_access(self, path: str, group: int | None, mode: int) -> None:
        """Sets the group and mode of a file or a folder. Raises OSError."""
        with self._entry(path) as descriptor:
            set_access(descriptor, group, mode)

    def sync(self, path: str) -> None:
        """Makes a file or a folder durable; an empty path is the directory. Raises OSError."""
        if not path:
            os.fsync(self.descriptor)
            return
        with self._entry(path) as descriptor:
            os.fsync(descriptor)

    def entries(self, path: str = "") -> Iterator[tuple[str, os.stat_result]]:
        """Yields all entries below `path`, each folder before its content.

        Raises OSError; UntrustedError if an entry belongs to another account, or is neither a file
        nor a folder nor a link.
        """
        with self._opened(path) as folder:
            found = [
                (name, os.stat(name, dir_fd=folder, follow_symlinks=False))
                for name in os.listdir(folder)
            ]
        for name, status in found:
            below = f"{path}/{name}" if path else name
            if stat.S_ISDIR(status.st_mode):
                yield below, status
                yield from self.entries(below)
            else:
                if stat.S_ISLNK(status.st_mode):
                    self._require_owner(below, status)
                else:
                    self._require_file(below, status)
                yield below, status

    @contextmanager
    def _parent(self, path: str) -> Iterator[tuple[int, str]]:
        """Yields the open parent folder and the name of an entry."""
        self.require_below(path)
        folder, _, name = path.rpartition("/")
        with self._opened(folder) as descriptor:
            yield descriptor, name

    @contextmanager
    def _entry(self, path: str) -> Iterator[int]:
        """Yields an open file or folder."""
        with self._parent(path) as (folder, name):
            descriptor = os.open(name, os.O_RDONLY | _FILE, dir_fd=folder)
            try:
                yield descriptor
            finally:
                os.close(descriptor)

    @contextmanager
    def _opened(self, path: str) -> Iterator[int]:
        """Yields the open folder at `path`. An empty path is the directory."""
        descriptor = self.descriptor
        names: list[str] = []
        if path:
            self.require_below(path)
            names = path.split("/")
        try:
            for number, name in enumerate(names, 1):
                below = self._open_folder(descriptor, name, "/".join(names[:number]))
                if descriptor != self.descriptor:
                    os.close(descriptor)
                descriptor = below
            yield descriptor
        finally:
            if descriptor != self.descriptor:
                os.close(descriptor)

    def _open_folder(self, above: int, name: str, path: str) -> int:
        try:
            descriptor = os.open(name, _FOLDER, dir_fd=above)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise self._untrusted(path, "is not a folder") from None
            raise
        try:
            self._require_owner(path, os.fstat(descriptor))
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _require_file(self, path: str, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise self._untrusted(path, "is not a regular file")
        self._require_owner(path, status)

    def _require_owner(self, path: str, status: os.stat_result) -> None:
        if self._owner is None:
            return
        if status.st_uid != self._owner:
            raise self._untrusted(path, "belongs to another account")
        if status.st_mode & _BY_OTHERS and not stat.S_ISLNK(status.st_mode):
            place = quote(str(self._path / path))
            reason = "can be written by other accounts"
            raise UntrustedError(
                f"{self._path / path} {reason}. {_UNEXPECTED} run: chmod go-w {place}"
            )

    def _untrusted(self, path: str, reason: str) -> UntrustedError:
        return UntrustedError(f"{self._path / path} {reason}. {_UNEXPECTED} delete it.")


def set_access(descriptor: int, group: int | None, mode: int) -> None:
    """Sets the group (if given) and mode of an open file. Raises OSError."""
    if group is not None:
        # Change the group first, so that the mode never applies to the old group.
        os.fchown(descriptor, -1, group)
    os.fchmod(descriptor, mode)
