"""The most common passwords, which attackers try first."""

from functools import cache
from importlib.resources import files


def is_common(password: str) -> bool:
    """Returns whether `password` is in the list (common_passwords/README.md), ignoring case."""
    normalized = password.strip().casefold()
    return "\n" not in normalized and f"\n{normalized}\n" in _listed()


@cache
def _listed() -> str:
    """Returns the list as one text: a set of its lines takes ten times the memory."""
    path = files("customer_certificates.crypto") / "common_passwords" / "passwords.txt"
    return "\n" + path.read_text("utf-8")
