"""Webhooks: create, read, change and delete endpoints for events."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET
from sqlalchemy import BigInteger, and_, bindparam, func, insert, null, or_, select, update

from ...errors import Conflict, Finding, Invalid, NotFound, user_not_found
from ...gateways.database import EVERYBODY, Database, Tenant, Transaction
from ...gateways.outbound_http import Outbound, TargetForbidden
from ...models import PENDING, Delivery, User, Webhook
from ..audit.hash_chain import NOBODY
from ..audit.log import Audit
from ..etags import Tags, require_view
from ..events.log import Events
from ..idempotency import NO_KEY, IdempotentRequest
from ..principal import Principal
from ..quotas.limits import DEFAULTS, exceeded, require_of
from ..user_lock import lock_user
from .disabling import webhook_path
from .queue import first_pending
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
_OWN_SUBJECTS = -(2**62)


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
        user_id: Any = bindparam("user_id", type_=BigInteger)
        mine = or_(Webhook.user_id == user_id, and_(user_id.is_(None), Webhook.user_id.is_(None)))
        shown = select(*(getattr(Webhook, name) for name in SHOWN)).where(mine)
        self._one = database.prepare(shown.where(Webhook.id == bindparam("webhook_id")))
        self._is_user = database.prepare(select(User.id).where(User.id == bindparam("user_id")))
        self._page = database.prepare(
            shown.where(Webhook.id > bindparam("after"))
            .order_by(Webhook.id)
            .limit(bindparam("limit", type_=BigInteger))
        )
        of_webhook = Delivery.webhook_id == bindparam("of_webhook")
        self._hold = database.prepare(
            update(Delivery)
            .where(of_webhook, Delivery.status == PENDING, Delivery.due.is_not(None))
            .values({Delivery.due: null()})
        )
        self._let_go = database.prepare(
            update(Delivery)
            .where(
                of_webhook,
                Delivery.status == PENDING,
                Delivery.due.is_(None),
                Delivery.event_id == first_pending(Delivery.webhook_id, Delivery.subject),
            )
            .values({Delivery.due: bindparam("next")})
        )
        self._tell_one = database.prepare(
            insert(Delivery), ("webhook_id", "event_id", "user_id", "subject", "due")
        )

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
        path = webhook_path(user_id, 0).rpartition("/")[0]
        with (
            self._audit.of_refusals(principal, "webhook.create", user_id or NOBODY, path),
            self._database.begin(tenant_of(user_id)) as session,
        ):
            if user_id is not None:
                lock_user(session, user_id)
            of_same = select(func.count()).where(Webhook.user_id.is_not_distinct_from(user_id))
            number = session.execute(of_same).scalar_one() + 1
            if user_id is not None:
                require_of(session, user_id, "webhooks", number)
            elif number > (most := DEFAULTS["webhooks"]):
                raise exceeded("webhooks", most, "Operators")
            session.add(webhook)
            session.flush()
            secret = self._secrets.add(session, webhook.id)
            self._record(session, principal, "webhook.create", webhook, {"url": webhook.url})
        return NewWebhookView(**msgspec.structs.asdict(_view(webhook)), secret=secret)

    def get(self, user_id: int | None, webhook_id: int) -> WebhookView:
        """Returns the endpoint. Raises NotFound, also for another user's endpoint."""
        values = {"user_id": user_id, "webhook_id": webhook_id}
        (rows,) = self._database.run_pipeline(tenant_of(user_id), (self._one, values))
        if not rows:
            raise webhook_not_found(webhook_id)
        return webhook_view(rows[0])

    def page(
        self, user_id: int | None, after: int, limit: int
    ) -> tuple[list[WebhookView], int | None]:
        """Returns at most `limit` endpoints by id, and where the next page starts.

        The page starts after the id `after`. The second value is the `after` of the next page, None
        on the last page. Raises NotFound (no such user).
        """
        values = {"user_id": user_id, "after": after, "limit": limit + 1}
        (rows,) = self._database.run_pipeline(tenant_of(user_id), (self._page, values))
        if not rows and user_id is not None and not self._is_user(user_id=user_id):
            raise user_not_found(user_id)
        views = [webhook_view(row) for row in rows[:limit]]
        return views, views[-1].id if len(rows) > limit else None

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
        path = webhook_path(user_id, webhook_id)
        with (
            self._audit.of_refusals(principal, "webhook.change", user_id or NOBODY, path),
            self._database.begin(tenant_of(user_id)) as session,
        ):
            idempotent.claim(session)
            webhook = locked_webhook(session, user_id, webhook_id)
            require_view(expected, _view(webhook))
            given = {
                name: value
                for name, value in msgspec.structs.asdict(changes).items()
                if value is not UNSET
            }
            if given.keys() - {"state"}:
                _require_own(webhook)
            before = webhook.state
            for name, value in given.items():
                setattr(webhook, name, _json(value) if name == "events" else value)
            if before == "disabled" and webhook.state != before:
                webhook.reason = webhook.failing_since = None
            changed = session.is_modified(webhook)
            session.flush()
            if webhook.state == "active" != before:
                session.run(self._let_go, of_webhook=webhook_id, next=self._now())
            elif webhook.state == "paused" != before:
                session.run(self._hold, of_webhook=webhook_id)
            detail = {"fields": sorted(given)}
            self._record(session, principal, "webhook.change", webhook, detail, changed=changed)
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
        path = webhook_path(user_id, webhook_id)
        with (
            self._audit.of_refusals(principal, "webhook.delete", user_id or NOBODY, path),
            self._database.begin(tenant_of(user_id)) as session,
        ):
            idempotent.claim(session)
            webhook = locked_webhook(session, user_id, webhook_id)
            require_view(expected, _view(webhook))
            _require_own(webhook)
            session.delete(webhook)
            session.flush()
            self._record(session, principal, "webhook.delete", webhook, {"url": webhook.url})
            idempotent.save_response(session, None)

    def new_secret(self, principal: Principal, user_id: int | None, webhook_id: int) -> SecretView:
        """Creates another secret for the endpoint.

        Raises NotFound, Unavailable, Conflict (CC_WEBHOOK_URL sets it).
        """
        with self._database.begin(tenant_of(user_id)) as session:
            webhook = locked_webhook(session, user_id, webhook_id)
            _require_own(webhook)
            secret = self._secrets.add(session, webhook_id)
            self._record(session, principal, "webhook.new_secret", webhook, {})
        return SecretView(secret, self._now() + BOTH_SIGN_FOR)

    def test(
        self,
        principal: Principal,
        user_id: int | None,
        webhook_id: int,
        idempotent: IdempotentRequest = NO_KEY,
    ) -> TestView:
        """Creates an event for this endpoint alone. Raises NotFound, Conflict (it is
        not active).
        """
        whose = user_id or NOBODY
        with self._database.begin(tenant_of(user_id)) as session:
            idempotent.claim(session)
            webhook = locked_webhook(session, user_id, webhook_id)
            require_active(webhook)
            event_id = self._events.record_test(session, whose, webhook_id)
            session.run(
                self._tell_one,
                webhook_id=webhook_id,
                event_id=event_id,
                user_id=whose,
                # The ordering key is unique, so the test waits for nothing.
                subject=_OWN_SUBJECTS - event_id,
                due=self._now(),
            )
            self._record(session, principal, "webhook.test", webhook, {"event_id": event_id})
            return idempotent.save_response(session, TestView(event_id))

    def _require_allowed(self, url: str) -> None:
        try:
            self._outbound.check(url)
        except TargetForbidden as error:
            raise Invalid(
                "The webhook URL is not allowed.",
                errors=[Finding("target_forbidden", "url", error.detail, error.hint)],
            ) from None

    def _record(
        self,
        session: Transaction,
        principal: Principal,
        action: str,
        webhook: Webhook,
        detail: dict[str, Any],
        *,
        changed: bool = True,
    ) -> None:
        self._audit.record(
            session,
            principal,
            action,
            webhook.user_id or NOBODY,
            webhook_path(webhook.user_id, webhook.id),
            outcome="done" if changed else "unchanged",
            detail=detail,
        )


def tenant_of(user_id: int | None) -> Tenant:
    """Returns the tenant whose rows an endpoint reads; operators' endpoints read all."""
    return EVERYBODY if user_id is None else user_id


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


def _require_own(webhook: Webhook) -> None:
    if webhook.configured:
        raise Conflict("This webhook is set by CC_WEBHOOK_URL. Change that setting instead.")


def _view(webhook: Webhook) -> WebhookView:
    return webhook_view([getattr(webhook, name) for name in SHOWN])


def _json(kinds: Sequence[str]) -> str:
    return msgspec.json.encode(kinds).decode()
