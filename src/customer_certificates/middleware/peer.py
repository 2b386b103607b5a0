"""Where a request comes from: the connection's other end, or whom a named proxy speaks for."""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from falcon import Request, Response

from ..errors import Forbidden

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Peer:
    """Sets `req.context.peer`. Of proxies that are not named no header counts."""

    def __init__(self, proxies: Sequence[Network]) -> None:
        """`proxies` are those whose X-Forwarded-… headers count; without any, nothing changes."""
        self._proxies = tuple(proxies)
        self._is_proxy = lru_cache(1024)(self._look_up)

    def process_request(self, req: Request, resp: Response) -> None:
        """Raises Forbidden where proxies are named and it came over plain HTTP all the same."""
        peer = req.remote_addr
        if self._proxies:
            peer = self._behind_proxy(req, peer)
        req.context.peer = peer

    def _behind_proxy(self, req: Request, peer: str) -> str:
        env = req.env
        if not self._is_proxy(peer):
            if env["wsgi.url_scheme"] != "https" and not _is_loopback(peer):
                raise Forbidden("Use HTTPS: this address is for the proxies in front of it.")
            return peer
        # Each proxy adds to the right; what the client sent itself is on the left.
        if env.get("HTTP_X_FORWARDED_PROTO", "https").rpartition(",")[2].strip() != "https":
            raise Forbidden("Use HTTPS: what you sent could be read on its way.")
        if host := env.get("HTTP_X_FORWARDED_HOST"):
            env["HTTP_HOST"] = host.rpartition(",")[2].strip()
        env["wsgi.url_scheme"] = "https"
        for hop in reversed(env.get("HTTP_X_FORWARDED_FOR", "").split(",")):
            address = _address(hop.strip())
            if address is None:
                break
            peer = address
            if not self._is_proxy(peer):
                break
        return peer

    def _look_up(self, peer: str) -> bool:
        text = _address(peer)
        if text is None:
            return False
        address = ipaddress.ip_address(text)
        return any(address in network for network in self._proxies)


def _address(text: str) -> str | None:
    """An address in its usual form; None for what is none."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)


def _is_loopback(peer: str) -> bool:
    text = _address(peer)
    return text is not None and ipaddress.ip_address(text).is_loopback
