"""Restricts a service without credentials to local clients."""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import urlsplit

from falcon import Request, Response

from ..errors import Forbidden
from ..services.principal import Principal
from .ip_networks import Network, Networks, is_forwarded, is_loopback


class LoopbackOnly:
    """Accepts loopback and trusted clients. Rejects requests from pages of other sites."""

    def __init__(self, allowed_clients: Sequence[Network]) -> None:
        """`allowed_clients` are accepted in addition to loopback addresses."""
        trusted = Networks(allowed_clients)
        self._is_trusted = lru_cache(1024)(lambda peer: is_loopback(peer) or peer in trusted)

    def process_request(self, req: Request, resp: Response) -> None:
        """Sets the principal. Raises Forbidden if the request may not be local."""
        resp.set_header("CC-Mode", "open")
        env = req.env
        if not self._is_trusted(req.remote_addr):
            raise Forbidden(
                "This service requires no credentials, so it accepts local clients only. "
                "Add the client's address to CC_ALLOWED_CLIENTS to accept it."
            )
        if is_forwarded(env):
            raise Forbidden(
                "A service without credentials accepts no requests through a proxy. "
                "Connect directly, or turn on authentication."
            )
        host = env.get("HTTP_HOST", "")
        # Reject foreign names that resolve to 127.0.0.1 (DNS rebinding).
        if not _is_local(host):
            raise Forbidden(
                "The Host header is not local. Use localhost or the address of this machine."
            )
        site = env.get("HTTP_SEC_FETCH_SITE", "none")
        # A form of the service's own page has the origin "null" due to its Referrer-Policy.
        is_own_form = env.get("HTTP_ORIGIN") == "null" and site == "same-origin"
        if "HTTP_ORIGIN" in env and not (is_own_form or _is_same_origin(env["HTTP_ORIGIN"], host)):
            raise Forbidden("Requests from pages of other origins are not allowed.")
        if site not in ("none", "same-origin"):
            raise Forbidden("Requests from pages of other sites are not allowed.")
        req.context.principal = Principal("open", req.context.request_id, req.remote_addr)


@lru_cache(1024)
def _is_local(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        if name == "localhost" or name.endswith(".localhost"):
            return True
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_same_origin(origin: str, host: str) -> bool:
    try:
        return urlsplit(origin).netloc == host
    except ValueError:
        return False
