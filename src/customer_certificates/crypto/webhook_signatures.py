"""Signatures of what is sent to webhooks, as the Standard Webhooks specification has them.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook

_PREFIX = "whsec_"
_SECRET_BYTES = 32


def new_secret() -> str:
    """256 random bits in the form that every library of the specification reads."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def headers(
    signed_with: Sequence[str], message_id: str, at: datetime, body: bytes
) -> dict[str, str]:
    """The headers that go with `body` (UTF-8), in an attempt made `at` that time.

    There is a signature for each of the secrets: while one replaces another, a receiver that knows
    either accepts it.
    """
    # The library takes the hands of the clock for UTC's.
    at, text = at.astimezone(UTC), body.decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(
            Webhook(secret).sign(message_id, at, text) for secret in signed_with
        ),
    }
