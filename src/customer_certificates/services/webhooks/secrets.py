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
        self._of = database.prepare(
            select(WebhookSecret.version, WebhookSecret.wrapped, WebhookSecret.master_key_id)
            .where(
                WebhookSecret.webhook_id == bindparam("webhook_id"),
                or_(WebhookSecret.ends_at.is_(None), WebhookSecret.ends_at > bindparam("now")),
            )
            .order_by(WebhookSecret.version.desc()),
            tenant=None,
        )

    def add(self, session: Transaction, webhook_id: int) -> str:
        """Creates a secret for an endpoint whose row is locked or new.

        Earlier secrets sign for 24 more hours. Raises Unavailable.
        """
        now, text = self._now(), new_secret()
        of_webhook = WebhookSecret.webhook_id == webhook_id
        newest = session.scalar(select(func.max(WebhookSecret.version)).where(of_webhook))
        version = (newest or 0) + 1
        wrapped = self._secrets.wrap(Secret(text.encode()), webhook_id, version)
        session.execute(
            update(WebhookSecret)
            .where(of_webhook, WebhookSecret.ends_at.is_(None))
            .values(ends_at=now + BOTH_SIGN_FOR)
        )
        new = {"webhook_id": webhook_id, "version": version, "created_at": now, **wrapped}
        session.execute(insert(WebhookSecret).values(new))
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
