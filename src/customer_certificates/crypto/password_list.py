"""The commonest passwords: what is tried first by those who guess."""

from functools import cache
from importlib.resources import files


def is_common(password: str) -> bool:
    """Whether `password` is in the list (common_passwords/README.md), without regard to case."""
    wanted = password.strip().casefold()
    return "\n" not in wanted and f"\n{wanted}\n" in _listed()


@cache
def _listed() -> str:
    """One text: a set of its lines would be ten times as large in each process."""
    path = files("customer_certificates.crypto") / "common_passwords" / "passwords.txt"
    return "\n" + path.read_text("utf-8")
