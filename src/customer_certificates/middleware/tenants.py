"""For whom a request is: what it may use of scarce resources counts for that tenant."""

from typing import Any

from falcon import Request, Response

from ..gateways.admission.client_networks import client_network
from ..gateways.admission.limiter import TENANT
from ..services.principal import Principal


class Tenants:
    """Sets the tenant of a request. To follow what says who asks.

    Until it is known who asks, it is the client's network: so it is while a password is checked,
    and for whoever registers.
    """

    def process_request(self, req: Request, resp: Response) -> None:
        """Takes the client's network for the tenant."""
        TENANT.set(client_network(req.context.peer))

    def process_resource(
        self, req: Request, resp: Response, resource: object, params: dict[str, Any]
    ) -> None:
        """Takes the caller for the tenant, or the user for whom an operator asks."""
        caller = req.context.get("caller")
        tenant = _tenant(caller, params.get("user_id")) if caller else None
        if tenant:
            TENANT.set(tenant)

    def process_response(
        self, req: Request, resp: Response, resource: object, req_succeeded: bool
    ) -> None:
        """Forgets the tenant: the next request of the connection is another one."""
        TENANT.set(None)


def _tenant(caller: Principal, about: int | None) -> str | None:
    if caller.user_id is not None:
        return f"user {caller.user_id}"
    if about is not None and caller.kind in ("open", "operator"):
        return f"user {about}"
    if caller.kind == "operator":
        return "operator"
    # A terminator's; those without one are their network.
    return None if caller.token_id is None else f"token {caller.token_id}"
