"""Checks a file's folders: an account with write access to them can replace the file."""

import grp
import os
import pwd
import stat
from pathlib import Path

_MAX_LINKS = 40


def fault_of_folder(folder: Path) -> str | None:
    """Returns why others could replace a file in `folder`, with the remedy; None if they cannot.

    Checks only `folder` itself. Raises OSError.
    """
    return _fault(folder, {0, os.geteuid()}) if folder.exists() else None


def fault_of_path(path: Path) -> str | None:
    """Returns why others could replace the file `path`, with the remedy; None if they cannot.

    Checks each folder from the root on, and the targets of symbolic links. This account or root
    must own each folder, and no other account may write to it. The sticky bit, as on /tmp, permits
    writes: others cannot replace files that they do not own. Raises OSError.
    """
    parts = list(reversed(path.absolute().parts))
    at, links = Path(parts.pop()), 0
    trusted = {0, os.geteuid()}
    while parts:
        if fault := _fault(at, trusted):
            return fault
        name = parts.pop()
        if name == "..":
            at = at.parent
            continue
        entry = at / name
        try:
            state = entry.lstat()
        except FileNotFoundError:
            # This account creates it, in folders that were checked.
            return None
        if state.st_uid not in trusted and stat.S_ISVTX & at.stat().st_mode:
            return (
                f"{entry} is owned by uid {state.st_uid}, in a folder that others can write to. "
                f"Run: chown {os.geteuid()} {entry}"
            )
        if stat.S_ISLNK(state.st_mode):
            links += 1
            if links > _MAX_LINKS:
                return f"{path} has too many symbolic links."
            target = Path(os.readlink(entry))
            parts += reversed(target.parts)
            if target.is_absolute():
                at = Path(parts.pop())
            continue
        at = entry
    return None


def _fault(folder: Path, trusted: set[int]) -> str | None:
    state = folder.stat()
    if state.st_uid not in trusted:
        return (
            f"The folder {folder} is owned by uid {state.st_uid}, who can replace its files. "
            f"Run: chown {os.geteuid()} {folder}"
        )
    if state.st_mode & stat.S_ISVTX:
        return None
    others = state.st_mode & stat.S_IWOTH
    group = state.st_mode & stat.S_IWGRP and not _is_private(state.st_gid, state.st_uid)
    if others or group:
        return (
            f"Others can write to the folder {folder} (mode {stat.S_IMODE(state.st_mode):04o}), "
            f"and so replace its files. Run: chmod go-w {folder}"
        )
    return None


def _is_private(gid: int, uid: int) -> bool:
    """Whether the account is the only member of the group.

    Many systems give each account a group, which may write to all folders of the account.
    """
    try:
        account, group = pwd.getpwuid(uid), grp.getgrgid(gid)
    except KeyError:
        return False
    return (
        account.pw_gid == gid
        and set(group.gr_mem) <= {account.pw_name}
        and all(member.pw_uid == uid for member in pwd.getpwall() if member.pw_gid == gid)
    )
