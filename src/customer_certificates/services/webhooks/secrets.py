"""Manages the secrets that sign webhooks.

They are wrapped by a master key in the database, and cached for minutes after use.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, func, insert, or_, select, update

from ...crypto.secret import Secret
from ...crypto.webhook_signatures import new_secret
from ...gateways.database import BoundStatement, Database, Transaction
from ...gateways.master_keys import MasterKeys
from ...models import WebhookSecret
from ..keys.secret_cache import SecretCache, existing_ids
from ..keys.wrapped_secrets import WrappedSecrets, aad_of

# After a rotation, both secrets sign for this time.
BOTH_SIGN_FOR = timedelta(hours=24)
_SECRET = b"cc/webhook-secret/v1"


class WebhookSecrets:
    """Creates secrets, and decrypts them for signing."""

    def __init__(
        self, database: Database, master_keys: MasterKeys, now: Callable[[], datetime]
    ) -> None:
        self._now = now
        cache = SecretCache(existing_ids(database, WebhookSecret.webhook_id))
        self._secrets = WrappedSecrets(master_keys, cache, _SECRET, "secret of webhook")
        webhook_id: Any = bindparam("webhook_id")
        self._of = database.prepare(
            select(WebhookSecret.version, WebhookSecret.wrapped, WebhookSecret.master_key_id)
            .where(
                WebhookSecret.webhook_id == webhook_id,
                or_(WebhookSecret.ends_at.is_(None), WebhookSecret.ends_at > bindparam("now")),
            )
            .order_by(WebhookSecret.version.desc()),
            tenant=None,
        )
        self._newest = database.prepare(
            select(func.coalesce(func.max(WebhookSecret.version), 0)).where(
                WebhookSecret.webhook_id == webhook_id
            ),
            tenant=None,
        )
        self._end = database.prepare(
            update(WebhookSecret)
            .where(WebhookSecret.webhook_id == webhook_id, WebhookSecret.ends_at.is_(None))
            .values(ends_at=bindparam("end"))
        )
        self._insert = database.prepare(
            insert(WebhookSecret),
            ("webhook_id", "version", "wrapped", "master_key_id", "created_at", "ends_at"),
        )

    def add(self, session: Transaction, webhook_id: int) -> str:
        """Creates a secret for an endpoint whose row is locked or new.

        Earlier secrets sign for 24 more hours. Raises Unavailable.
        """
        now, text = self._now(), new_secret()
        ((version,),) = session.run(self._newest, webhook_id=webhook_id)
        version += 1
        wrapped = self._secrets.wrap(Secret(text.encode()), webhook_id, version)
        session.run(self._end, webhook_id=webhook_id, end=now + BOTH_SIGN_FOR)
        session.run(
            self._insert,
            webhook_id=webhook_id,
            version=version,
            **wrapped,
            created_at=now,
            ends_at=None,
        )
        return text

    def rows(self, webhook_id: int) -> BoundStatement:
        """Returns the statement that reads the rows for `opened`."""
        return self._of, {"webhook_id": webhook_id, "now": self._now()}

    def opened(self, webhook_id: int, rows: list[Any]) -> list[Secret]:
        """Returns the decrypted secrets, newest first. Raises Unavailable."""
        return [self._secrets.unwrap(webhook_id, *row) for row in rows]

    def close(self) -> None:
        """Clears the cache of decrypted secrets."""
        self._secrets.close()


def webhook_secret_aad(webhook_id: int, version: int) -> bytes:
    """Returns the additional authenticated data of a wrapped secret."""
    return aad_of(_SECRET, webhook_id, version)
