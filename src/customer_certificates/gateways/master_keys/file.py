"""A master key in a file that only the service's account can read."""

import base64
import os
import stat
from hmac import digest
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ...crypto.secret import Secret
from ..files.safe_folders import fault_of_folder, fault_of_path
from .base import MasterKeyError, WrongMasterKey

_PREFIX = "customer-certificates-master-key-1:"
_KEY_BYTES, _NONCE_BYTES = 32, 12
_LONGEST = 200


class FileMasterKey:
    """Wraps with AES-256-GCM. The wrapped key begins with the random nonce."""

    def __init__(self, path: Path, *, by_default: bool = False) -> None:
        """Reads the key at `path`.

        `by_default`: the path is the default, so only the folder itself is checked. Raises
        MasterKeyError if the file does not exist, is not a master key, or if others can read or
        replace it.
        """
        key = _read(path)
        _require_safe_folders(path, by_default=by_default)
        # Two paths to one key have the same ID, which reveals nothing about the key.
        self.id = "file:" + digest(key, b"cc/master-key-id/v1", "sha256").hex()[:32]
        self._cipher = AESGCM(key)

    def wrap(self, data_key: Secret, aad: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data_key.reveal(), aad)

    def unwrap(self, wrapped: bytes, aad: bytes) -> Secret:
        nonce, sealed = wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:]
        try:
            return Secret(self._cipher.decrypt(nonce, sealed, aad))
        except (InvalidTag, ValueError):
            raise WrongMasterKey(self.id) from None

    def close(self) -> None:
        """Does nothing: there are no connections."""


def make(path: Path, *, by_default: bool = False) -> bool:
    """Creates a master key in a new file atomically.

    Returns False if the file exists. Raises MasterKeyError if it cannot be written, or if others
    could replace it.
    """
    _require_safe_folders(path, by_default=by_default)
    text = _PREFIX + base64.b64encode(os.urandom(_KEY_BYTES)).decode() + "\n"
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(descriptor)
            # If two processes create it at once, one of them wins.
            os.link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _flush(path.parent)
    except FileExistsError:
        return False
    except OSError as error:
        raise MasterKeyError(f"Cannot write a master key to {path}: {error.strerror}.") from error
    return True


def _require_safe_folders(path: Path, *, by_default: bool) -> None:
    try:
        fault = fault_of_folder(path.parent) if by_default else fault_of_path(path)
    except OSError as error:
        raise MasterKeyError(
            f"The folders of the master key file {path} cannot be checked: {error.strerror}."
        ) from error
    if fault:
        raise MasterKeyError(f"The master key file {path} is not safe. {fault}")


def _flush(folder: Path) -> None:
    """Flushes the folder, so that a key in use survives a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> bytes:
    try:
        # Never blocks on a named pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        raise MasterKeyError(
            f"The master key file {path} does not exist. Create one: customer-certificates keys "
            f"init {path}"
        ) from None
    except OSError as error:
        raise MasterKeyError(
            f"The master key file {path} cannot be read: {error.strerror}."
        ) from error
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise MasterKeyError(f"The master key {path} is not a regular file.")
        if state.st_uid != os.geteuid():
            raise MasterKeyError(
                f"The master key file {path} is owned by uid {state.st_uid}, but the service runs "
                f"as uid {os.geteuid()}. Run: chown {os.geteuid()} {path}"
            )
        if state.st_mode & 0o077:
            raise MasterKeyError(
                f"Other accounts can access the master key file {path} (mode "
                f"{stat.S_IMODE(state.st_mode):04o}). Run: chmod 600 {path}"
            )
        return _decoded(os.read(descriptor, _LONGEST), path)
    finally:
        os.close(descriptor)


def _decoded(content: bytes, path: Path) -> bytes:
    text = content.decode("ascii", "replace").strip()
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not text.startswith(_PREFIX) or len(key) != _KEY_BYTES:
        raise MasterKeyError(
            f"The file {path} is not a master key. Use a file created by: customer-certificates "
            "keys init"
        )
    return key
