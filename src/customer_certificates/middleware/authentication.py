"""Authentication and authorization of requests."""

import base64
from collections.abc import Sequence
from typing import Any

from falcon import Request, Response

from ..errors import Forbidden, Unauthenticated
from ..services.access.authentication import Authentication
from ..services.access.permissions import OPERATORS, Permission, require
from ..services.principal import Principal
from ..web.operations import permission_of
from .ip_networks import Network, Networks, is_forwarded

_BEARER = 'Bearer realm="customer-certificates"'
_BASIC = 'Basic realm="customer-certificates", charset="UTF-8"'


class Authenticated:
    """Enforces the permission of each responder (`@operation(…, allow=…)`).

    A responder without a permission rejects every request.
    """

    def __init__(
        self,
        authentication: Authentication,
        *,
        registration_is_open: bool,
        terminator_peers: Sequence[Network] = (),
    ) -> None:
        """`terminator_peers` need no token for endpoints that allow a token in the URL."""
        self._authentication = authentication
        self._registration_is_open = registration_is_open
        self._terminator_peers = Networks(terminator_peers)

    def process_resource(
        self, req: Request, resp: Response, resource: object, params: dict[str, Any]
    ) -> None:
        """Sets the principal.

        Raises Unauthenticated, TooManyRequests, Forbidden, NotFound or Unavailable, before the
        body is read.
        """
        responder = getattr(resource, f"on_{req.method.lower()}", None)
        if responder is None:
            # The framework responds to these from the routes alone: 405, OPTIONS or 400.
            if not _is_public(resource):
                self._identified(req, resp, OPERATORS, params)
            return
        operation = getattr(responder, "__operation__", None)
        if operation is None:
            raise Forbidden("Nobody is allowed to use this endpoint.")
        permission = permission_of(resource, operation)
        context = req.context
        if permission.anybody or (permission.registers and self._registration_is_open):
            context.principal = Principal("anybody", context.request_id, context.peer)
            return
        principal = self._identified(req, resp, permission, params)
        if not (permission.password and principal.token_id is None):
            require(permission, principal, params.get("user_id"))

    def _identified(
        self, req: Request, resp: Response, permission: Permission, params: dict[str, Any]
    ) -> Principal:
        try:
            req.context.principal = principal = self._principal(req, permission, params)
        except Unauthenticated:
            challenge = f"{_BASIC}, {_BEARER}" if permission.password else _BEARER
            resp.set_header("WWW-Authenticate", challenge)
            raise
        return principal

    def _principal(self, req: Request, permission: Permission, params: dict[str, Any]) -> Principal:
        user_id = params.get("user_id")
        scheme, _, credentials = req.env.get("HTTP_AUTHORIZATION", "").partition(" ")
        origin = req.context.request_id, req.context.peer
        if permission.allows_token_in_url:
            if "token" in params:
                return self._authentication.token(params.pop("token"), user_id, *origin)
            # Reject proxied requests, because the peer is then the proxy and not the terminator.
            if (
                not scheme
                and req.remote_addr in self._terminator_peers
                and not is_forwarded(req.env)
            ):
                return Principal("terminator", *origin)
        match scheme.lower():
            case "bearer":
                return self._authentication.token(credentials.strip(), user_id, *origin)
            case "basic" if permission.allows_token_in_url:
                # HTTP clients send the userinfo of a URL as HTTP Basic.
                _, token = _email_and_password(credentials)
                return self._authentication.token(token, user_id, *origin)
            case "basic" if permission.password:
                email, password = _email_and_password(credentials)
                return self._authentication.password(email, password, *origin)
            case "basic":
                raise Unauthenticated(
                    "A password is accepted by POST /tokens only. Create a token there and send "
                    "it: Authorization: Bearer …"
                )
        raise Unauthenticated(
            "Credentials are missing. Send the email address and the password (HTTP Basic), "
            "or an operator token."
            if permission.password
            else "A token is missing. Create one with POST /tokens and send it: Authorization: "
            "Bearer …"
        )


def _is_public(resource: object) -> bool:
    """Returns whether any method of `resource` is public, so that its route is no secret."""
    operations = (
        getattr(getattr(resource, name), "__operation__", None)
        for name in dir(resource)
        if name.startswith("on_")
    )
    return any(
        operation is not None and permission_of(resource, operation).anybody
        for operation in operations
    )


def _email_and_password(credentials: str) -> tuple[str, str]:
    """Returns the parts of HTTP Basic credentials (RFC 7617). Raises Unauthenticated."""
    try:
        email, password = base64.b64decode(credentials, validate=True).decode().split(":", 1)
    except ValueError:
        raise Unauthenticated(
            "Malformed HTTP Basic credentials. Send the base64 of the email address, a colon and "
            "the password."
        ) from None
    return email, password
