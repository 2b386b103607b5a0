"""Releases private keys to terminators, always after the release was recorded."""

import base64
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Literal

from ...crypto.sealed_format import CannotOpen
from ...crypto.secret import Secret
from ...gateways.database import EVERYBODY, BoundStatement, Database
from ...gateways.database.prepared import Row
from ..audit.hash_chain import time_of
from ..audit.log import Audit
from ..certificates.candidates import Servable
from ..certificates.contents import certificate_path
from ..keys.data_keys import DataKeys
from ..keys.private_keys import PrivateKeys
from ..principal import Principal

Channel = Literal["caddy", "traefik", "feed"]

# For this time, one record covers repeated releases of a key to the same terminator by this
# process.
_RECORDED_FOR = timedelta(hours=1)
# The channels whose terminators ask for the same key again and again.
_REPEATING: set[Channel] = {"caddy", "traefik"}
# Each takes 250 bytes.
_MOST_REMEMBERED = 20_000

_log = logging.getLogger(__name__)


class KeyRelease:
    """The only channel that releases keys.

    An audit entry, in the chain of the keys' user, says which keys may be released to whom until
    when. It is committed before any of them is released. Without it, a terminator that asks at each
    handshake would cost a flushed write each time (docs/decisions/0030).
    """

    def __init__(
        self,
        database: Database,
        data_keys: DataKeys,
        private_keys: PrivateKeys,
        audit: Audit,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._data_keys = data_keys
        self._private_keys = private_keys
        self._audit = audit
        self._now = now
        self._recorded: OrderedDict[tuple[Any, int, int], datetime] = OrderedDict()

    def release(
        self, principal: Principal, channel: Channel, servable: Sequence[Servable]
    ) -> list[tuple[Servable, Secret]]:
        """Returns each certificate with its key in PEM (PKCS#8).

        Omits a certificate whose key was tampered with. Raises Unavailable if a key cannot be
        decrypted now, or the release cannot be recorded.
        """
        opened = []
        for item in servable:
            certificate_id, user_id, version = item.candidate[:3]
            keys = self._data_keys.unwrapped(user_id, item.data_keys)
            try:
                key = self._private_keys.opened(item.sealed, keys, certificate_id, version)
            except CannotOpen as reason:
                _log.error(
                    "The key of certificate %s cannot be decrypted. %s", certificate_id, reason
                )
            else:
                opened.append((item, _pem(key)))
        self._record(principal, channel, [item for item, _ in opened])
        return opened

    def _record(self, principal: Principal, channel: Channel, released: Iterable[Servable]) -> None:
        now = self._now()
        until = now + _RECORDED_FOR if channel in _REPEATING else now
        receiver = (principal.kind, principal.token_id or principal.peer, channel)
        of_user: dict[int, list[tuple[int, int]]] = {}
        for item in released:
            certificate_id, user_id, version = item.candidate[:3]
            if self._recorded.get((receiver, certificate_id, version), now) <= now:
                of_user.setdefault(user_id, []).append((certificate_id, version))
        if not of_user:
            return
        # The order is always the same, so that two transactions that lock the same chains cannot
        # deadlock.
        users = sorted(of_user)

        def entries(heads: list[list[Row]]) -> list[BoundStatement]:
            inserts = [
                self._audit.entry(
                    [(seq, last_hash)],
                    principal,
                    "key.read",
                    user_id,
                    _path(user_id, of_user[user_id]),
                    detail={"channel": channel, "keys": of_user[user_id], "until": time_of(until)},
                )[0]
                for user_id, seq, last_hash in heads[0]
            ]
            return [*inserts, self._audit.moved(users)]

        self._database.run_two_step_transaction(EVERYBODY, [self._audit.heads(users)], entries)
        if until > now:
            for keys in of_user.values():
                for certificate_id, version in keys:
                    self._remember((receiver, certificate_id, version), until)

    def _remember(self, name: tuple[Any, int, int], until: datetime) -> None:
        # Several threads do this concurrently; each step is atomic.
        self._recorded.pop(name, None)
        self._recorded[name] = until
        if len(self._recorded) > _MOST_REMEMBERED:
            with suppress(KeyError):
                self._recorded.popitem(last=False)


def _path(user_id: int, keys: Sequence[tuple[int, int]]) -> str:
    several = f"/users/{user_id}/certificates"
    return certificate_path(user_id, keys[0][0]) if len(keys) == 1 else several


def _pem(key: Secret) -> Secret:
    """Returns a PKCS#8 key in PEM (RFC 7468)."""
    text = base64.b64encode(key.reveal())
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    begin, end = b"-----BEGIN PRIVATE KEY-----", b"-----END PRIVATE KEY-----"
    return Secret(b"\n".join([begin, *lines, end, b""]))
