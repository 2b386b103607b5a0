"""/users/{user_id}/webhooks and, for operators, /webhooks; what is below them."""

from falcon import Request, Response

from ..errors import Conflict, Invalid, NotFound, PreconditionFailed
from ..services.access.permissions import Rights
from ..services.certificates.views import encode
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
from ..web import (
    etags as conditional,
)
from ..web import (
    pagination as pages,
)
from ..web import (
    request_parsing as payloads,
)
from ..web import (
    responses as replies,
)
from ..web.openapi import Route
from ..web.operations import (
    AFTER,
    IDEMPOTENCY_KEY,
    IF_MATCH,
    IF_NONE_MATCH,
    LIMIT,
    NOT_MODIFIED,
    Answer,
    Parameter,
    operation,
)

_STATUS = Parameter(
    "status",
    "query",
    "Only deliveries that stand so.",
    {"type": "string", "enum": ["pending", "delivered", "dead"]},
)
_EVENTS_AFTER = Parameter(
    "after",
    "query",
    "Only deliveries of events with a greater id: the last `event_id` of the page before.",
    {"type": "integer", "minimum": 0, "maximum": 2**63 - 1, "default": 0},
)


def webhook_routes(
    above: str, whose: str, webhooks: Webhooks, redelivery: Redelivery, allow: Rights
) -> list[Route]:
    """The routes of the webhooks below `above`: a user's, or operators'. `allow` says who may, and
    operations are named after `whose` they are."""

    class WebhooksResource:
        """Endpoints that are told of events."""

        @operation(
            "Make a webhook",
            {
                201: Answer(
                    "Made. The secret is shown this once.", NewWebhookView, headers=("Location",)
                )
            },
            description="Messages are signed as specified by Standard Webhooks. "
            "docs/reference/events.md lists the events and describes delivery.",
            body=NewWebhook,
            refusals=[NotFound, Conflict],
            allow=allow,
        )
        def on_post(self, req: Request, resp: Response, user_id: int | None = None) -> None:
            new = payloads.read(req, NewWebhook)
            made = webhooks.create(req.context.caller, user_id, new)
            resp.status = 201
            resp.location = f"{req.path.rstrip('/')}/{made.id}"
            resp.set_header("Cache-Control", "no-store")
            resp.data = encode(made)

        @operation(
            "List webhooks",
            {200: Answer("By id, without secrets.", list[WebhookView], headers=("Link",))},
            parameters=[LIMIT, AFTER],
            refusals=[NotFound, Invalid],
            allow=allow,
        )
        def on_get(self, req: Request, resp: Response, user_id: int | None = None) -> None:
            query = payloads.Query(req)
            after, limit = pages.wanted(query)
            query.check()
            found, next_after = webhooks.page(user_id, after, limit)
            pages.link_next(req, resp, next_after)
            resp.data = encode(found)

        on_head = on_get

    class WebhookResource:
        """One endpoint."""

        @operation(
            "Show a webhook",
            {
                200: Answer("The webhook.", WebhookView, headers=("ETag",)),
                304: NOT_MODIFIED,
            },
            parameters=[IF_NONE_MATCH],
            refusals=[NotFound],
            allow=allow,
        )
        def on_get(
            self, req: Request, resp: Response, webhook_id: int, user_id: int | None = None
        ) -> None:
            conditional.answer(req, resp, webhooks.get(user_id, webhook_id))

        on_head = on_get

        @operation(
            "Change a webhook; pause it, or have it go on",
            {200: Answer("The webhook as it is now.", WebhookView, headers=("ETag",))},
            body=WebhookChanges,
            parameters=[IF_MATCH, IDEMPOTENCY_KEY],
            refusals=[NotFound, Conflict, PreconditionFailed],
            allow=allow,
        )
        def on_patch(
            self, req: Request, resp: Response, webhook_id: int, user_id: int | None = None
        ) -> None:
            changes = payloads.read(req, WebhookChanges)
            once, expected = replies.once(req, replies.shown), conditional.expected(req)
            caller = req.context.caller
            view = webhooks.change(caller, user_id, webhook_id, changes, expected, once)
            replies.send(resp, replies.shown(view))

        @operation(
            "Delete a webhook, and all that it was to be told",
            {204: Answer("Gone.")},
            parameters=[IF_MATCH, IDEMPOTENCY_KEY],
            refusals=[NotFound, Conflict, PreconditionFailed],
            allow=allow,
        )
        def on_delete(
            self, req: Request, resp: Response, webhook_id: int, user_id: int | None = None
        ) -> None:
            once, expected = replies.once(req, replies.gone), conditional.expected(req)
            webhooks.delete(req.context.caller, user_id, webhook_id, expected, once)
            resp.status = 204

    class WebhookSecretResource:
        """What an endpoint's messages are signed with."""

        @operation(
            "Exchange a webhook's secret",
            {200: Answer("Exchanged. The new secret is shown this once.", SecretView)},
            description="For 24 hours messages are signed with both.",
            refusals=[NotFound, Conflict],
            allow=allow,
        )
        def on_post(
            self, req: Request, resp: Response, webhook_id: int, user_id: int | None = None
        ) -> None:
            view = webhooks.new_secret(req.context.caller, user_id, webhook_id)
            resp.set_header("Cache-Control", "no-store")
            resp.data = encode(view)

    class WebhookTestResource:
        """Whether an endpoint works."""

        @operation(
            "Try a webhook",
            {202: Answer("An event of the type webhook.test is on its way.", TestView)},
            description="How it went is in the webhook's deliveries.",
            parameters=[IDEMPOTENCY_KEY],
            refusals=[NotFound, Conflict],
            allow=allow,
        )
        def on_post(
            self, req: Request, resp: Response, webhook_id: int, user_id: int | None = None
        ) -> None:
            once = replies.once(req, _accepted)
            view = webhooks.test(req.context.caller, user_id, webhook_id, once)
            replies.send(resp, _accepted(view))

    class DeliveriesResource:
        """What an endpoint was told."""

        @operation(
            "List a webhook's deliveries",
            {200: Answer("By event.", list[DeliveryView], headers=("Link",))},
            description="Kept as long as their events. Dead letters have the status `dead`.",
            parameters=[_STATUS, LIMIT, _EVENTS_AFTER],
            refusals=[NotFound, Invalid],
            allow=allow,
        )
        def on_get(
            self, req: Request, resp: Response, webhook_id: int, user_id: int | None = None
        ) -> None:
            query = payloads.Query(req)
            status = query.choice("status", Status)
            after, limit = pages.wanted(query)
            query.check()
            found, next_after = redelivery.page(user_id, webhook_id, status, after, limit)
            pages.link_next(req, resp, next_after)
            resp.data = encode(found)

        on_head = on_get

    class RedeliveryResource:
        """One event once more."""

        @operation(
            "Deliver an event to a webhook again",
            {202: Answer("It is on its way.")},
            description="With the same `webhook-id`. One that is pending is sent at once.",
            parameters=[IDEMPOTENCY_KEY],
            refusals=[NotFound, Conflict],
            allow=allow,
        )
        def on_post(
            self,
            req: Request,
            resp: Response,
            webhook_id: int,
            event_id: int,
            user_id: int | None = None,
        ) -> None:
            once = replies.once(req, _accepted)
            redelivery.redeliver(req.context.caller, user_id, webhook_id, event_id, once)
            replies.send(resp, _accepted(None))

    class ReplayResource:
        """Events of a range once more."""

        @operation(
            "Deliver a range of events to a webhook again",
            {202: Answer("They are on their way.", ReplayView)},
            description="Those that it hears of: what it was told already, and what it was not, as "
            "from before it was made.",
            body=Replay,
            parameters=[IDEMPOTENCY_KEY],
            refusals=[NotFound, Conflict],
            allow=allow,
        )
        def on_post(
            self, req: Request, resp: Response, webhook_id: int, user_id: int | None = None
        ) -> None:
            wanted = payloads.read(req, Replay)
            once = replies.once(req, _accepted)
            view = redelivery.replay(req.context.caller, user_id, webhook_id, wanted, once)
            replies.send(resp, _accepted(view))

    one = f"{above}/webhooks/{{webhook_id:id}}"
    routes: list[Route] = [
        (f"{above}/webhooks", WebhooksResource()),
        (one, WebhookResource()),
        (f"{one}/secret", WebhookSecretResource()),
        (f"{one}/test", WebhookTestResource()),
        (f"{one}/deliveries", DeliveriesResource()),
        (f"{one}/deliveries/{{event_id:id}}/redeliver", RedeliveryResource()),
        (f"{one}/replay", ReplayResource()),
    ]
    for _, resource in routes:
        type(resource).__name__ = whose + type(resource).__name__
    return routes


def _accepted(view: object) -> Reply:
    return Reply(202, None if view is None else encode(view))
