"""/users/{user_id}/webhooks, /webhooks (for operators) and their subpaths"""

from typing import Any, TypeVar

from falcon import Request, Response

from ..errors import Conflict, Invalid, NotFound, PreconditionFailed
from ..services.access.permissions import OPERATORS, users
from ..services.etags import encode
from ..services.idempotency import Reply
from ..services.webhooks.endpoints import Webhooks
from ..services.webhooks.redelivery import DeliveryView, Redelivery, Replay, ReplayView, Status
from ..services.webhooks.views import (
    NewWebhook,
    NewWebhookView,
    SecretView,
    TestView,
    WebhookChanges,
    WebhookView,
)
from ..web import etags, pagination, request_parsing, responses
from ..web.operations import (
    IDEMPOTENCY_KEY,
    IF_NONE_MATCH,
    LIMIT,
    PAGE,
    WRITE,
    Answer,
    Parameter,
    operation,
)
from ..web.resource import Resource

_STATUS = Parameter(
    "status",
    "Return only deliveries with this status.",
    {"type": "string", "enum": ["pending", "delivered", "dead"]},
)
_EVENTS_AFTER = Parameter(
    "after",
    "Return only deliveries of events with a greater id. Use the last `event_id` of the previous "
    "page.",
    {"type": "integer", "minimum": 0, "maximum": 2**63 - 1, "default": 0},
)
# The user that owns the webhooks; None: operators.
_Owner = int | None
R = TypeVar("R", bound=Resource[Any])


class _WebhooksBase(Resource[Webhooks]):
    allow = OPERATORS


class _DeliveriesBase(Resource[Redelivery]):
    allow = OPERATORS


class WebhooksResource(_WebhooksBase):
    """Endpoints that receive events."""

    @operation(
        "Create a webhook",
        {
            201: Answer(
                "Created. The secret is shown only once.", NewWebhookView, headers=("Location",)
            )
        },
        description="Messages are signed as specified by Standard Webhooks. "
        "docs/reference/events.md lists the events and describes delivery.",
        body=NewWebhook,
        refusals=[NotFound, Conflict],
    )
    def on_post(self, req: Request, resp: Response, user_id: _Owner = None) -> None:
        new = request_parsing.read(req, NewWebhook)
        created = self._service.create(req.context.principal, user_id, new)
        resp.status = 201
        resp.location = f"{req.path.rstrip('/')}/{created.id}"
        responses.send_uncached(resp, created)

    @operation(
        "List webhooks",
        {200: Answer("Webhooks by id, without secrets.", list[WebhookView], headers=("Link",))},
        parameters=PAGE,
        refusals=[NotFound, Invalid],
    )
    def on_get(self, req: Request, resp: Response, user_id: _Owner = None) -> None:
        page = self._service.page(user_id, *pagination.requested(req))
        pagination.send(req, resp, page)


class WebhookResource(_WebhooksBase):
    """One endpoint."""

    @operation(
        "Show a webhook",
        {200: Answer("The webhook.", WebhookView)},
        parameters=[IF_NONE_MATCH],
        refusals=[NotFound],
    )
    def on_get(self, req: Request, resp: Response, webhook_id: int, user_id: _Owner = None) -> None:
        etags.answer(req, resp, self._service.get(user_id, webhook_id))

    @operation(
        "Update, pause or resume a webhook",
        {200: Answer("The updated webhook.", WebhookView)},
        body=WebhookChanges,
        parameters=WRITE,
        refusals=[NotFound, Conflict, PreconditionFailed],
    )
    def on_patch(
        self, req: Request, resp: Response, webhook_id: int, user_id: _Owner = None
    ) -> None:
        changes = request_parsing.read(req, WebhookChanges)
        idempotent, expected = responses.idempotent(req, responses.shown), etags.expected(req)
        principal = req.context.principal
        view = self._service.change(principal, user_id, webhook_id, changes, expected, idempotent)
        responses.send(resp, responses.shown(view))

    @operation(
        "Delete a webhook and its pending deliveries",
        {204: Answer("Deleted.")},
        parameters=WRITE,
        refusals=[NotFound, Conflict, PreconditionFailed],
    )
    def on_delete(
        self, req: Request, resp: Response, webhook_id: int, user_id: _Owner = None
    ) -> None:
        idempotent, expected = responses.idempotent(req, responses.deleted), etags.expected(req)
        self._service.delete(req.context.principal, user_id, webhook_id, expected, idempotent)
        resp.status = 204


class WebhookSecretResource(_WebhooksBase):
    """The secret that signs an endpoint's messages."""

    @operation(
        "Rotate a webhook's secret",
        {200: Answer("Rotated. The new secret is shown only once.", SecretView)},
        description="For 24 hours, messages are signed with both the old and the new secret.",
        refusals=[NotFound, Conflict],
    )
    def on_post(
        self, req: Request, resp: Response, webhook_id: int, user_id: _Owner = None
    ) -> None:
        secret = self._service.new_secret(req.context.principal, user_id, webhook_id)
        responses.send_uncached(resp, secret)


class WebhookTestResource(_WebhooksBase):
    """Test events for an endpoint."""

    @operation(
        "Send a test event to a webhook",
        {202: Answer("An event of type webhook.test is queued.", TestView)},
        description="The webhook's deliveries show the result.",
        parameters=[IDEMPOTENCY_KEY],
        refusals=[NotFound, Conflict],
    )
    def on_post(
        self, req: Request, resp: Response, webhook_id: int, user_id: _Owner = None
    ) -> None:
        idempotent = responses.idempotent(req, _accepted)
        view = self._service.test(req.context.principal, user_id, webhook_id, idempotent)
        responses.send(resp, _accepted(view))


class DeliveriesResource(_DeliveriesBase):
    """The deliveries of an endpoint."""

    @operation(
        "List a webhook's deliveries",
        {200: Answer("Deliveries by event id.", list[DeliveryView], headers=("Link",))},
        description="Deliveries are kept as long as their events. Failed deliveries that are no "
        "longer retried have the status `dead`.",
        parameters=[_STATUS, LIMIT, _EVENTS_AFTER],
        refusals=[NotFound, Invalid],
    )
    def on_get(self, req: Request, resp: Response, webhook_id: int, user_id: _Owner = None) -> None:
        query = request_parsing.Query(req)
        status = query.choice("status", Status)
        after, limit = pagination.slice_of(query)
        query.check()
        page = self._service.page(user_id, webhook_id, status, after, limit)
        pagination.send(req, resp, page)


class RedeliveryResource(_DeliveriesBase):
    """The redelivery of one event."""

    @operation(
        "Deliver an event to a webhook again",
        {202: Answer("The event is queued.")},
        description="Sends the event with the same `webhook-id`. A pending delivery is sent "
        "immediately.",
        parameters=[IDEMPOTENCY_KEY],
        refusals=[NotFound, Conflict],
    )
    def on_post(
        self, req: Request, resp: Response, webhook_id: int, event_id: int, user_id: _Owner = None
    ) -> None:
        idempotent = responses.idempotent(req, _accepted)
        self._service.redeliver(req.context.principal, user_id, webhook_id, event_id, idempotent)
        responses.send(resp, _accepted(None))


class ReplayResource(_DeliveriesBase):
    """The redelivery of a range of events."""

    @operation(
        "Deliver a range of events to a webhook again",
        {202: Answer("The events are queued.", ReplayView)},
        description="Sends all events in the range that the webhook subscribes to. This includes "
        "events from before the webhook was created.",
        body=Replay,
        parameters=[IDEMPOTENCY_KEY],
        refusals=[NotFound, Conflict],
    )
    def on_post(
        self, req: Request, resp: Response, webhook_id: int, user_id: _Owner = None
    ) -> None:
        events = request_parsing.read(req, Replay)
        idempotent = responses.idempotent(req, _accepted)
        view = self._service.replay(req.context.principal, user_id, webhook_id, events, idempotent)
        responses.send(resp, _accepted(view))


def _of_user(resource: type[R]) -> type[R]:
    """Returns the same resource for users, for their own webhooks."""
    return type(f"User{resource.__name__}", (resource,), {"allow": users("webhooks")})


UserWebhooksResource = _of_user(WebhooksResource)
UserWebhookResource = _of_user(WebhookResource)
UserWebhookSecretResource = _of_user(WebhookSecretResource)
UserWebhookTestResource = _of_user(WebhookTestResource)
UserDeliveriesResource = _of_user(DeliveriesResource)
UserRedeliveryResource = _of_user(RedeliveryResource)
UserReplayResource = _of_user(ReplayResource)


def _accepted(view: object) -> Reply:
    return Reply(202, None if view is None else encode(view))
