"""Signs webhook requests according to the Standard Webhooks specification.

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
    """Returns 256 random bits in the format that the specification's libraries read."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def headers(
    signed_with: Sequence[str], message_id: str, at: datetime, body: bytes
) -> dict[str, str]:
    """Returns the signature headers for `body` (UTF-8), in an attempt made `at` that time.

    There is one signature for each secret. During a rotation, a receiver that knows either secret
    accepts the request.
    """
    # The library ignores the time zone and assumes UTC.
    at, text = at.astimezone(UTC), body.decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(
            Webhook(secret).sign(message_id, at, text) for secret in signed_with
        ),
    }
