"""The password rules of the profile `prd`."""

from ...crypto.password_list import is_common
from ...errors import Finding, Invalid

SHORTEST = 8


def require_strong(password: str, name: str, email: str) -> None:
    """Raises Invalid if `password` is short, common, or the user's name or address."""
    findings = []
    if len(password.strip()) < SHORTEST:
        findings.append(
            _finding("password_too_short", f"The password has fewer than {SHORTEST} characters.")
        )
    elif is_common(password):
        findings.append(_finding("password_too_common", "The password is too common."))
    if _plain(password) in {_plain(name), _plain(email), _plain(email.rpartition("@")[0])}:
        findings.append(
            _finding("password_is_known", "The password is the user's name or email address.")
        )
    if findings:
        raise Invalid("The password is invalid.", errors=findings)


def _plain(text: str) -> str:
    return text.strip().casefold()


def _finding(code: str, detail: str) -> Finding:
    hint = f"Use another one, of {SHORTEST} characters or more: several random words, for example."
    return Finding(code, "password", detail, hint)
