"""The tenant of a request: the user, the operator, or the client's network."""

from typing import Any

import falcon
import pytest
from falcon import Request, Response
from falcon.testing import TestClient

from customer_certificates.gateways.admission.limiter import TENANT
from customer_certificates.middleware.tenants import Tenants
from customer_certificates.services.principal import Principal

V4, V6 = "192.0.2.1", "2001:db8::1"


class Known:
    """Sets the principal, as authentication does."""

    def __init__(self, peer: str, caller: Principal | None) -> None:
        self._peer = peer
        self._caller = caller
        self.before: str | None = None

    def process_request(self, req: Request, resp: Response) -> None:
        req.context.peer = self._peer

    def process_resource(
        self, req: Request, resp: Response, resource: object, params: dict[str, Any]
    ) -> None:
        """A password is checked here."""
        self.before = TENANT.get()
        if self._caller:
            req.context.principal = self._caller


class Resource:
    def on_get(self, req: Request, resp: Response, user_id: int | None = None) -> None:
        resp.text = str(TENANT.get())


@pytest.mark.parametrize(
    ("caller", "path", "tenant"),
    [
        (Principal("user", "", V4, 1, user_id=7), "/users/7", "user 7"),
        (Principal("user", "", V4, 1, user_id=7), "/tokens", "user 7"),
        (Principal("operator", "", V4, 1), "/users/8", "user 8"),
        (Principal("operator", "", V4, 1), "/tokens", "operator"),
        (Principal("open", "", V4), "/users/8", "user 8"),
        (Principal("open", "", V4), "/tokens", V4),
        (Principal("terminator", "", V4, 3), "/tokens", "token 3"),
        (Principal("terminator", "", V4), "/tokens", V4),
        (Principal("anybody", "", V6), "/tokens", "2001:db8::/64"),
        (None, "/tokens", V4),
    ],
)
def test_a_request_counts_for_its_tenant(caller: Principal | None, path: str, tenant: str) -> None:
    peer = caller.peer if caller else V4
    known = Known(peer, caller)
    app: Any = falcon.App(middleware=[known, Tenants()])
    app.add_route("/users/{user_id:int}", Resource())
    app.add_route("/tokens", Resource())

    assert TestClient(app).simulate_get(path).text == tenant
    assert known.before == ("2001:db8::/64" if peer == V6 else V4)
    assert TENANT.get() is None
