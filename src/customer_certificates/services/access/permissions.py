"""Who may ask for what, as data: each operation names its `Rights`."""

from dataclasses import dataclass
from typing import Literal, get_args

from ...errors import Forbidden, user_not_found
from ..principal import Caller

Scope = Literal["certificates:read", "certificates:write", "webhooks", "audit:read"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


@dataclass(frozen=True, slots=True)
class Rights:
    """Operators may ask for everything but private keys; who else may is said here.

    `anybody`: who asks is not even looked at. `users`: a user's own token that has all of `scopes`,
    about this user alone. `password`: whoever signs in with an e-mail address and a password.
    `registers`: anybody, where the service is set up so. `terminators`: what serves TLS.
    `headerless`: also such a one that can send no header, by its address or by a token in the URL.
    """

    anybody: bool = False
    users: bool = False
    scopes: tuple[Scope, ...] = ()
    password: bool = False
    registers: bool = False
    operators: bool = True
    terminators: bool = False
    headerless: bool = False


ANYBODY = Rights(anybody=True)
OPERATORS = Rights()
REGISTRATION = Rights(registers=True)
PASSWORD = Rights(password=True)
# What says which certificate is served, but not its key.
OBSERVERS = Rights(terminators=True)
# Private keys leave for those who serve with them, and for nobody else.
TERMINATORS = Rights(operators=False, terminators=True)
CADDY = Rights(operators=False, terminators=True, headerless=True)


def users(*scopes: Scope) -> Rights:
    """Users about themselves, with a token that has `scopes`."""
    return Rights(users=True, scopes=scopes)


# Whoever could change a password with a token for less could make one for everything.
WHOLE_USER = users(*SCOPES)


def require(rights: Rights, caller: Caller, user_id: int | None) -> None:
    """Raises Forbidden where `caller` may not ask for it, or NotFound where the user `user_id`
    whom it is about is another one: nobody learns whether that one is there."""
    if (caller.kind == "operator" and rights.operators) or (
        caller.kind == "terminator" and rights.terminators
    ):
        return
    if caller.kind != "user" or not rights.users:
        raise Forbidden(f"This endpoint requires {_required(rights)}.")
    missing = [scope for scope in rights.scopes if scope not in caller.scopes]
    if missing:
        raise Forbidden(
            f"This endpoint requires a token with the scope {' and the scope '.join(missing)}. "
            "Create one with POST /tokens."
        )
    if user_id is not None and user_id != caller.user_id:
        raise user_not_found(user_id)


def require_may_grant(caller: Caller, *, wanted: bool) -> None:
    """Raises Forbidden if hostnames are to be granted, and `caller` is no operator."""
    if wanted and caller.kind == "user":
        raise Forbidden(
            "grant_hostnames requires an operator token. "
            "Leave it out, and prove control of the hostnames by a challenge."
        )


def _required(rights: Rights) -> str:
    if rights.users:
        return "a user token or an operator token"
    if rights.terminators:
        operator = "an operator token or " if rights.operators else ""
        return f"{operator}a terminator token"
    password = ", or an email address with a password" if rights.password else ""
    return f"an operator token{password}"
