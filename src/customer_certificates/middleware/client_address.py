"""The client address of a request, with support for trusted proxies."""

from collections.abc import Sequence

from falcon import Request, Response

from ..errors import Forbidden
from .ip_networks import Network, Networks, address_of, is_loopback

_HEALTH = ("/healthcheck", "/livez", "/readyz")


class ClientAddress:
    """Sets `req.context.peer`. Ignores forwarding headers from untrusted proxies."""

    def __init__(self, proxies: Sequence[Network]) -> None:
        """`proxies` may set X-Forwarded-… headers. If empty, all such headers are ignored."""
        self._proxies = Networks(proxies)

    def process_request(self, req: Request, resp: Response) -> None:
        """Raises Forbidden for plain HTTP if there are trusted proxies."""
        peer = req.remote_addr
        if self._proxies:
            peer = self._behind_proxy(req, peer)
        req.context.peer = peer

    def _behind_proxy(self, req: Request, peer: str) -> str:
        env = req.env
        if peer not in self._proxies:
            if env["wsgi.url_scheme"] != "https" and not is_loopback(peer):
                raise Forbidden(
                    "This address accepts requests from the proxies only. Use HTTPS at the public "
                    "address."
                )
            return peer
        protocols = env.get("HTTP_X_FORWARDED_PROTO")
        if protocols is None:
            if req.path in _HEALTH and req.method in ("GET", "HEAD"):
                # A load balancer's own health check has no client and no secrets.
                return peer
            raise Forbidden(
                "The proxy did not report HTTPS. Configure it to set X-Forwarded-Proto."
            )
        # Several proxies, or a client and a proxy, add several values. All must be HTTPS.
        if any(one.strip().lower() != "https" for one in protocols.split(",")):
            raise Forbidden(
                "Plain HTTP is not accepted. Use HTTPS, and replace the credentials that you sent."
            )
        # Each proxy appends on the right. Values from the client are on the left.
        if host := env.get("HTTP_X_FORWARDED_HOST"):
            env["HTTP_HOST"] = host.rpartition(",")[2].strip()
        env["wsgi.url_scheme"] = "https"
        for hop in reversed(env.get("HTTP_X_FORWARDED_FOR", "").split(",")):
            address = address_of(hop.strip())
            if address is None:
                break
            peer = str(address)
            if peer not in self._proxies:
                break
        return peer
