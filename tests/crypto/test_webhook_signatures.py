"""The library that the docs recommend to receivers verifies our signatures."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from customer_certificates.crypto import webhook_signatures

BODY = json.dumps({"type": "certificate.activated", "hostnames": ["ä.example"]}).encode()


def now() -> datetime:
    return datetime.now(UTC)


def test_a_receiver_verifies_it() -> None:
    secret = webhook_signatures.new_secret()

    headers = webhook_signatures.headers([secret], "evt_1", now(), BODY)

    assert Webhook(secret).verify(BODY, headers) == json.loads(BODY)
    assert sorted(headers) == ["webhook-id", "webhook-signature", "webhook-timestamp"]


def test_it_is_what_the_specification_s_example_is() -> None:
    """https://github.com/standard-webhooks/standard-webhooks: its libraries' own test vector."""
    headers = webhook_signatures.headers(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        datetime.fromtimestamp(1614265330, timezone(timedelta(hours=5, minutes=30))),
        b'{"test": 2432232314}',
    )

    assert headers["webhook-timestamp"] == "1614265330"
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_while_one_secret_replaces_another_either_verifies() -> None:
    old, new = webhook_signatures.new_secret(), webhook_signatures.new_secret()

    headers = webhook_signatures.headers([new, old], "evt_1", now(), BODY)

    for secret in (old, new):
        Webhook(secret).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(webhook_signatures.new_secret()).verify(BODY, headers)


@pytest.mark.parametrize(
    ("header", "value"),
    [("webhook-id", "evt_2"), ("webhook-timestamp", str(int(now().timestamp()) + 7))],
    # Not the time: processes that share the tests have to call them the same.
    ids=["webhook-id", "webhook-timestamp"],
)
def test_what_goes_with_it_is_signed_too(header: str, value: str) -> None:
    secret = webhook_signatures.new_secret()
    headers = webhook_signatures.headers([secret], "evt_1", now(), BODY)

    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY, headers | {header: value})
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY.replace(b"activated", b"deleted"), headers)


def test_secrets_differ_and_have_256_bits() -> None:
    secrets = {webhook_signatures.new_secret() for _ in range(100)}

    assert len(secrets) == 100
    assert {len(secret) for secret in secrets} == {len("whsec_") + 44}
