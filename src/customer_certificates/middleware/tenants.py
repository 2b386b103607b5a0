"""The tenant of a request, for the fair use of limited resources."""

from typing import Any

from falcon import Request, Response

from ..gateways.admission.client_networks import client_network
from ..gateways.admission.limiter import TENANT
from ..services.principal import Principal


class Tenants:
    """Sets the tenant of a request. Must run after authentication.

    Before authentication, the tenant is the client's network. This applies to password checks and
    registrations.
    """

    def process_request(self, req: Request, resp: Response) -> None:
        """Sets the client's network as the tenant."""
        TENANT.set(client_network(req.context.peer))

    def process_resource(
        self, req: Request, resp: Response, resource: object, params: dict[str, Any]
    ) -> None:
        """Sets the principal as the tenant, or the user on whose data an operator acts."""
        principal = req.context.get("principal")
        tenant = _tenant(principal, params.get("user_id")) if principal else None
        if tenant:
            TENANT.set(tenant)

    def process_response(
        self, req: Request, resp: Response, resource: object, req_succeeded: bool
    ) -> None:
        """Clears the tenant, because the next request may belong to another one."""
        TENANT.set(None)


def _tenant(principal: Principal, target_user_id: int | None) -> str | None:
    if principal.user_id is not None:
        return f"user {principal.user_id}"
    if target_user_id is not None and principal.kind in ("open", "operator"):
        return f"user {target_user_id}"
    if principal.kind == "operator":
        return "operator"
    # A terminator's token. Terminators without a token count as their network.
    return None if principal.token_id is None else f"token {principal.token_id}"
