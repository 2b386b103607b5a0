"""Where a request comes from: the connection's other end, or whom a named proxy speaks for."""

from collections.abc import Sequence

from falcon import Request, Response

from ..errors import Forbidden
from .networks import Network, Networks, address_of, is_loopback


class Peer:
    """Sets `req.context.peer`. Of proxies that are not named no header counts."""

    def __init__(self, proxies: Sequence[Network]) -> None:
        """`proxies` are those whose X-Forwarded-… headers count; without any, nothing changes."""
        self._proxies = Networks(proxies)

    def process_request(self, req: Request, resp: Response) -> None:
        """Raises Forbidden where proxies are named and it came over plain HTTP all the same."""
        peer = req.remote_addr
        if self._proxies:
            peer = self._behind_proxy(req, peer)
        req.context.peer = peer

    def _behind_proxy(self, req: Request, peer: str) -> str:
        env = req.env
        if peer not in self._proxies:
            if env["wsgi.url_scheme"] != "https" and not is_loopback(peer):
                raise Forbidden("Use HTTPS: this address is for the proxies in front of it.")
            return peer
        # Each proxy adds to the right; what the client sent itself is on the left.
        if env.get("HTTP_X_FORWARDED_PROTO", "https").rpartition(",")[2].strip() != "https":
            raise Forbidden("Use HTTPS: what you sent could be read on its way.")
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
