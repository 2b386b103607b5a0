"""Webhooks: create, read, change and delete endpoints for events."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime

import msgspec
from msgspec import UNSET
from sqlalchemy import and_, bindparam, func, null, or_, select, update

from ...errors import Conflict, Finding, Invalid, NotFound, user_not_found
from ...gateways.database import EVERYBODY, Database, Transaction, int_param
from ...gateways.outbound_http import Outbound, TargetForbidden
from ...models import PENDING, Delivery, User, Webhook
from ..audit.hash_chain import NOBODY
from ..audit.log import Audit, PendingEntry
from ..etags import Tags, require_view
from ..events.log import Events
from ..idempotency import NO_KEY, IdempotentRequest
from ..pages import Page, page_of
from ..principal import Principal
from ..quotas.limits import DEFAULTS, exceeded, require_of
from ..user_lock import lock_user
from .disabling import webhook_path
from .queue import unblocked
from .secrets import BOTH_SIGN_FOR, WebhookSecrets
from .views import (
    SHOWN,
    NewWebhook,
    NewWebhookView,
    SecretView,
    TestView,
    WebhookChanges,
    WebhookView,
    webhook_view,
)

# Certificates are positive, users negative numbers. Test events are far below those.
_TEST_ORDERING_KEYS = -(2**62)


class Webhooks:
    """The use cases of endpoints.

    `user_id` is the owner; None for operators' endpoints, which get events of all users.
    """

    def __init__(
        self,
        database: Database,
        outbound: Outbound,
        webhook_secrets: WebhookSecrets,
        audit: Audit,
        events: Events,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._outbound = outbound
        self._secrets = webhook_secrets
        self._audit = audit
        self._events = events
        self._now = now
        user_id = int_param("user_id")
        mine = or_(Webhook.user_id == user_id, and_(user_id.is_(None), Webhook.user_id.is_(None)))
        shown = select(*(getattr(Webhook, name) for name in SHOWN)).where(mine)
        self._get = database.prepare(shown.where(Webhook.id == bindparam("webhook_id")))
        self._is_user = database.prepare(select(User.id).where(User.id == bindparam("user_id")))
        self._page = database.prepare(
            shown.where(Webhook.id > bindparam("after"))
            .order_by(Webhook.id)
            .limit(int_param("limit"))
        )
        of_webhook = Delivery.webhook_id == bindparam("of_webhook")
        self._block = database.prepare(
            update(Delivery)
            .where(of_webhook, Delivery.status == PENDING, Delivery.next_attempt_at.is_not(None))
            .values({Delivery.next_attempt_at: null()})
        )
        self._unblock = database.prepare(unblocked(of_webhook))

    def create(self, principal: Principal, user_id: int | None, new: NewWebhook) -> NewWebhookView:
        """Creates an endpoint and its secret.

        Raises Invalid (the URL is not allowed), NotFound (no such user), Conflict (the quota is
        exceeded), Unavailable.
        """
        self._require_allowed(new.url)
        webhook = Webhook(
            user_id=user_id,
            url=new.url,
            events=_json(new.events),
            description=new.description,
            state="active",
            configured=False,
            created_at=self._now(),
        )
        with self._begin(principal, "webhook.create", user_id) as (session, entry):
            if user_id is not None:
                lock_user(session, user_id)
            count = select(func.count()).where(Webhook.user_id.is_not_distinct_from(user_id))
            number = session.execute(count).scalar_one() + 1
            if user_id is not None:
                require_of(session, user_id, "webhooks", number)
            elif number > (most := DEFAULTS["webhooks"]):
                raise exceeded("webhooks", most, "Operators")
            session.add(webhook)
            session.flush()
            secret = self._secrets.add(session, webhook.id)
            entry.path = webhook_path(user_id, webhook.id)
            entry.add({"url": webhook.url})
        return NewWebhookView(**msgspec.structs.asdict(_view(webhook)), secret=secret)

    def get(self, user_id: int | None, webhook_id: int) -> WebhookView:
        """Returns the endpoint. Raises NotFound, also for another user's endpoint."""
        values = {"user_id": user_id, "webhook_id": webhook_id}
        (rows,) = self._database.run_pipeline(user_id or EVERYBODY, (self._get, values))
        if not rows:
            raise webhook_not_found(webhook_id)
        return webhook_view(rows[0])

    def page(self, user_id: int | None, after: int, limit: int) -> Page[WebhookView]:
        """Returns a page of endpoints by id. Raises NotFound (no such user)."""
        values = {"user_id": user_id, "after": after, "limit": limit + 1}
        (rows,) = self._database.run_pipeline(user_id or EVERYBODY, (self._page, values))
        if not rows and user_id is not None and not self._is_user(user_id=user_id):
            raise user_not_found(user_id)
        return page_of(rows, limit, webhook_view)

    def change(
        self,
        principal: Principal,
        user_id: int | None,
        webhook_id: int,
        changes: WebhookChanges,
        expected: Tags | None,
        idempotent: IdempotentRequest = NO_KEY,
    ) -> WebhookView:
        """Stores `changes`, and returns the changed endpoint.

        Raises NotFound, Invalid (the URL is not allowed), PreconditionFailed, Conflict
        (CC_WEBHOOK_URL sets it).
        """
        if changes.url is not UNSET:
            self._require_allowed(changes.url)
        fields = {
            name: _json(value) if name == "events" else value
            for name, value in msgspec.structs.asdict(changes).items()
            if value is not UNSET
        }
        write = self._begin(principal, "webhook.change", user_id, webhook_id, idempotent)
        with write as (session, entry):
            webhook = locked_webhook(session, user_id, webhook_id)
            require_view(expected, _view(webhook))
            if fields.keys() - {"state"}:
                _require_not_configured(webhook)
            before = webhook.state
            for name, value in fields.items():
                setattr(webhook, name, value)
            if before == "disabled" and webhook.state != before:
                webhook.reason = webhook.failing_since = None
            changed = session.is_modified(webhook)
            session.flush()
            if webhook.state == "active" != before:
                session.run(self._unblock, of_webhook=webhook_id, next=self._now())
            elif webhook.state == "paused" != before:
                session.run(self._block, of_webhook=webhook_id)
            entry.add({"fields": sorted(fields)}, changed=changed)
            return idempotent.save_response(session, _view(webhook))

    def delete(
        self,
        principal: Principal,
        user_id: int | None,
        webhook_id: int,
        expected: Tags | None,
        idempotent: IdempotentRequest = NO_KEY,
    ) -> None:
        """Deletes the endpoint and its deliveries.

        Raises NotFound, PreconditionFailed, Conflict (CC_WEBHOOK_URL sets it).
        """
        write = self._begin(principal, "webhook.delete", user_id, webhook_id, idempotent)
        with write as (session, entry):
            webhook = locked_webhook(session, user_id, webhook_id)
            require_view(expected, _view(webhook))
            _require_not_configured(webhook)
            session.delete(webhook)
            session.flush()
            entry.add({"url": webhook.url})
            idempotent.save_response(session, None)

    def new_secret(self, principal: Principal, user_id: int | None, webhook_id: int) -> SecretView:
        """Creates another secret for the endpoint.

        Raises NotFound, Unavailable, Conflict (CC_WEBHOOK_URL sets it).
        """
        write = self._begin(principal, "webhook.new_secret", user_id, webhook_id)
        with write as (session, entry):
            _require_not_configured(locked_webhook(session, user_id, webhook_id))
            secret = self._secrets.add(session, webhook_id)
            entry.add()
        return SecretView(secret, self._now() + BOTH_SIGN_FOR)

    def test(
        self,
        principal: Principal,
        user_id: int | None,
        webhook_id: int,
        idempotent: IdempotentRequest = NO_KEY,
    ) -> TestView:
        """Creates an event for this endpoint alone.

        Raises NotFound, Conflict (the endpoint is not active).
        """
        owner = user_id or NOBODY
        write = self._begin(principal, "webhook.test", user_id, webhook_id, idempotent)
        with write as (session, entry):
            require_active(locked_webhook(session, user_id, webhook_id))
            event_id = self._events.record_test(session, owner, webhook_id)
            # The ordering key is unique, so the test waits for nothing.
            ordering_key, now = _TEST_ORDERING_KEYS - event_id, self._now()
            session.add(
                Delivery(
                    webhook_id=webhook_id,
                    event_id=event_id,
                    user_id=owner,
                    ordering_key=ordering_key,
                    next_attempt_at=now,
                )
            )
            session.flush()
            entry.add({"event_id": event_id})
            return idempotent.save_response(session, TestView(event_id))

    def _require_allowed(self, url: str) -> None:
        try:
            self._outbound.check(url)
        except TargetForbidden as error:
            raise Invalid(
                "The webhook URL is not allowed.",
                errors=[Finding("target_forbidden", "url", error.detail, error.hint)],
            ) from None

    def _begin(
        self,
        principal: Principal,
        action: str,
        user_id: int | None,
        webhook_id: int | None = None,
        idempotent: IdempotentRequest = NO_KEY,
    ) -> AbstractContextManager[tuple[Transaction, PendingEntry]]:
        path = webhook_path(user_id, webhook_id)
        return self._audit.begin(principal, action, user_id or NOBODY, path, idempotent)


def locked_webhook(session: Transaction, user_id: int | None, webhook_id: int) -> Webhook:
    """Returns the endpoint, locked until the transaction ends.

    Locks the user's row first, because transactions that record events already hold that lock.
    Raises NotFound, also for another user's endpoint.
    """
    if user_id is not None:
        lock_user(session, user_id)
    # Does not block transactions that record events; they only need the row to exist.
    webhook = session.get(Webhook, webhook_id, with_for_update={"key_share": True})
    if webhook is None or webhook.user_id != user_id:
        raise webhook_not_found(webhook_id)
    return webhook


def require_active(webhook: Webhook) -> None:
    """Raises Conflict if the endpoint is not active."""
    if webhook.state != "active":
        raise Conflict(f"The webhook is {webhook.state}. Set its state to active first.")


def webhook_not_found(webhook_id: int) -> NotFound:
    """Returns the error for an endpoint that does not exist or belongs to another user."""
    return NotFound(f"Webhook {webhook_id} does not exist.")


def _require_not_configured(webhook: Webhook) -> None:
    if webhook.configured:
        raise Conflict("This webhook is set by CC_WEBHOOK_URL. Change that setting instead.")


def _view(webhook: Webhook) -> WebhookView:
    return webhook_view([getattr(webhook, name) for name in SHOWN])


def _json(kinds: Sequence[str]) -> str:
    return msgspec.json.encode(kinds).decode()
