"""Opens a directory by a path that no other account can redirect."""

import errno
import grp
import os
import pwd
import stat
from contextlib import suppress
from pathlib import Path
from shlex import quote

from .directory import UntrustedError

_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_MOST_LINKS = 40
_ROOT = 0
_WALK = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_own(path: Path) -> int:
    """Opens the directory at `path`, which only this account may change.

    Creates a missing directory. Returns a descriptor.

    Raises OSError; UntrustedError if another account owns the directory, can write to it, or could
    redirect the path.
    """
    descriptor = _open(path, is_made=True)
    status = os.fstat(descriptor)
    reason = _why_not_own(path, status)
    if reason:
        os.close(descriptor)
        raise UntrustedError(reason)
    return descriptor


def open_of_anyone(path: Path) -> int:
    """Opens the directory at `path`, whose parents must be trusted.

    The directory itself may belong to another account. Returns a descriptor. Raises OSError.
    """
    return _open(path, is_made=False)


def _open(path: Path, *, is_made: bool) -> int:
    """Opens `path` from / down, and requires that each directory is trusted."""
    folder = os.open("/", _WALK)
    reached, links = Path("/"), 0
    names = [*reversed(path.parts[1:])]
    try:
        while names:
            _require_trusted(reached, os.fstat(folder), path)
            name = names.pop()
            status = _status(folder, name)
            if status is None and is_made:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o755 if names else 0o700, dir_fd=folder)
                status = _status(folder, name)
            if status is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
            if stat.S_ISLNK(status.st_mode):
                links += 1
                if links > _MOST_LINKS:
                    raise UntrustedError(
                        f"{path} has too many symbolic links. Choose another path."
                    )
                _require_trusted(reached / name, status, path)
                target = Path(os.readlink(name, dir_fd=folder))
                parts = target.parts
                if target.is_absolute():
                    os.close(folder)
                    folder, reached = os.open("/", _WALK), Path("/")
                    parts = parts[1:]
                names.extend(reversed(parts))
                continue
            below = os.open(name, _WALK if names else _READ, dir_fd=folder)
            os.close(folder)
            folder, reached = below, reached / name
    except BaseException:
        os.close(folder)
        raise
    return folder


def _status(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _require_trusted(place: Path, status: os.stat_result, path: Path) -> None:
    """Raises UntrustedError if another account could replace entries of `place`."""
    own = os.geteuid()
    if status.st_uid not in (_ROOT, own):
        raise UntrustedError(
            f"{place} belongs to {_account(status.st_uid)}, so that account could replace {path}. "
            "Choose a folder whose parent folders belong to root or to the agent's account, "
            f"or change the owner: chown root {quote(str(place))}"
        )
    is_link, is_sticky = stat.S_ISLNK(status.st_mode), status.st_mode & stat.S_ISVTX
    if is_link or is_sticky or not status.st_mode & _BY_OTHERS:
        return
    if not status.st_mode & stat.S_IWOTH and _has_no_other_member(status.st_gid):
        return
    raise UntrustedError(
        f"Other accounts can write to {place}, so they could replace {path}. Choose a folder whose "
        "parent folders only root and the agent's account can write to, or remove the permission: "
        f"chmod go-w {quote(str(place))}"
    )


def _why_not_own(path: Path, status: os.stat_result) -> str | None:
    own, quoted = os.geteuid(), quote(str(path))
    if status.st_uid != own:
        return (
            f"{path} belongs to {_account(status.st_uid)}, and the agent runs as {_account(own)}. "
            "That account could make the agent write or delete files elsewhere. Give the folder to "
            f"the agent's account: chown -hR {_account(own)} {quoted} && chmod -R go-w {quoted} && "
            f"rm -f {quoted}/state.sqlite3*. Then start the agent again; --group names the group "
            "that may read the files."
        )
    if status.st_mode & _BY_OTHERS:
        return (
            f"Other accounts can write to {path}. Remove the permission: chmod -R go-w {quoted}. "
            "Then start the agent again; --group names the group that may read the files."
        )
    return None


def _has_no_other_member(group_id: int) -> bool:
    """Returns whether only root and this account are in the group."""
    trusted = {_ROOT, os.geteuid()}
    try:
        members = [pwd.getpwnam(name).pw_uid for name in grp.getgrgid(group_id).gr_mem]
    except KeyError:
        return False
    members += [account.pw_uid for account in pwd.getpwall() if account.pw_gid == group_id]
    return trusted.issuperset(members)


def _account(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return str(user_id)
