"""CC_WEBHOOK_URL: an ordinary endpoint that workers create at their start."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import sqlalchemy as sa

from customer_certificates.gateways.database import Database
from customer_certificates.models import Webhook
from customer_certificates.services.webhooks.managed_endpoint import configure_webhook

from ...tables import NOW

URL, ANOTHER = "https://one.example.com/", "https://another.example.com/"


def webhooks(engine: sa.Engine) -> list[Any]:
    query = sa.select(Webhook.url, Webhook.state, Webhook.reason)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query)]


def test_workers_that_start_at_once_make_one(database: Database, engine: sa.Engine) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: configure_webhook(database, URL, NOW), range(8)))

    assert webhooks(engine) == [(URL, "active", None)]


def test_a_new_url_reactivates_a_disabled_endpoint(database: Database, engine: sa.Engine) -> None:
    configure_webhook(database, URL, NOW)
    with engine.begin() as connection:
        connection.execute(sa.update(Webhook).values(state="disabled", reason="It answered 410."))
    configure_webhook(database, URL, NOW)
    assert webhooks(engine) == [(URL, "disabled", "It answered 410.")]
    configure_webhook(database, ANOTHER, NOW)

    assert webhooks(engine) == [(ANOTHER, "active", None)]


def test_the_endpoint_is_disabled_while_the_setting_is_absent(
    database: Database, engine: sa.Engine
) -> None:
    configure_webhook(database, None, NOW)
    assert webhooks(engine) == []
    configure_webhook(database, URL, NOW)
    configure_webhook(database, None, NOW)
    assert webhooks(engine) == [(URL, "disabled", "CC_WEBHOOK_URL is not set.")]
    configure_webhook(database, URL, NOW)

    assert webhooks(engine) == [(URL, "active", None)]
