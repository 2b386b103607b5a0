"""The static files of the package: htmx, the script and the style sheet."""

from functools import cache
from hashlib import sha256
from importlib.resources import files

TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_FOLDER = files("customer_certificates.console") / "static"


def path_of(name: str) -> str:
    """Returns the path of the file in URLs, which changes with its content."""
    return f"/console/static/{digest_of(name)}/{name}"


@cache
def digest_of(name: str) -> str:
    """Returns a digest of the file. Raises FileNotFoundError."""
    return sha256(content_of(name)).hexdigest()[:16]


def content_of(name: str) -> bytes:
    """Returns the file. Raises FileNotFoundError."""
    return (_FOLDER / name).read_bytes()


@cache
def names() -> frozenset[str]:
    """Returns the names of the files that browsers load."""
    return frozenset(path.name for path in _FOLDER.iterdir() if suffix(path.name) in TYPES)


def suffix(name: str) -> str:
    """Returns the part of the name after the last dot."""
    return name.rpartition(".")[2]
