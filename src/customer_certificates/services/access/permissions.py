"""Permissions as data: each operation names its `Permission`."""

from dataclasses import dataclass
from typing import Literal, get_args

from ...errors import Forbidden, user_not_found
from ..principal import Principal

Scope = Literal["certificates:read", "certificates:write", "webhooks", "audit:read"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


@dataclass(frozen=True, slots=True)
class Permission:
    """The principals that may call an operation.

    Operators may call every operation that returns no private key.

    `anybody`: no credentials are needed. `users`: a token of the user concerned, with all of
    `scopes`. `password`: an email address and a password. `registers`: anybody, if registration is
    open. `terminators`: a terminator's token. `allows_token_in_url`: also a terminator that cannot
    send a header, by its address or by a token in the URL.
    """

    anybody: bool = False
    users: bool = False
    scopes: tuple[Scope, ...] = ()
    password: bool = False
    registers: bool = False
    operators: bool = True
    terminators: bool = False
    allows_token_in_url: bool = False


ANYBODY = Permission(anybody=True)
OPERATORS = Permission()
REGISTRATION = Permission(registers=True)
PASSWORD = Permission(password=True)
# For operations that say which certificate is served, without its key.
CAN_RESOLVE = Permission(terminators=True)
# Private keys are released only to the terminators that serve them.
TERMINATORS = Permission(operators=False, terminators=True)
CADDY = Permission(operators=False, terminators=True, allows_token_in_url=True)


def users(*scopes: Scope) -> Permission:
    """Permits users to access their own data, with a token that has `scopes`."""
    return Permission(users=True, scopes=scopes)


# A token with fewer scopes must not change the password, as a password can create a token with all
# scopes.
WHOLE_USER = users(*SCOPES)


def require(permission: Permission, principal: Principal, user_id: int | None) -> None:
    """Raises Forbidden if `principal` lacks the permission.

    Raises NotFound if `user_id` is another user, so that nobody learns whether it exists.
    """
    if (principal.kind == "operator" and permission.operators) or (
        principal.kind == "terminator" and permission.terminators
    ):
        return
    if principal.kind != "user" or not permission.users:
        raise Forbidden(f"This endpoint requires {_required(permission)}.")
    missing = [scope for scope in permission.scopes if scope not in principal.scopes]
    if missing:
        raise Forbidden(
            f"This endpoint requires a token with the scope {' and the scope '.join(missing)}. "
            "Create one with POST /tokens."
        )
    if user_id is not None and user_id != principal.user_id:
        raise user_not_found(user_id)


def require_may_grant(principal: Principal, *, grants: bool) -> None:
    """Raises Forbidden if the request grants hostnames, and `principal` is no operator."""
    if grants and principal.kind == "user":
        raise Forbidden(
            "grant_hostnames requires an operator token. Omit it, and prove control of the "
            "hostnames by a challenge."
        )


def _required(permission: Permission) -> str:
    if permission.users:
        return "a user token or an operator token"
    if permission.terminators:
        operator = "an operator token or " if permission.operators else ""
        return f"{operator}a terminator token"
    password = ", or an email address with a password" if permission.password else ""
    return f"an operator token{password}"
