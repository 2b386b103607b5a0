"""/console/users/{user_id}/webhooks and its subpaths"""

from typing import Any

import msgspec
from falcon import Request, Response

from ...field_docs import Id
from ...services.access.permissions import users
from ...services.etags import tag_of_view
from ...services.webhooks.endpoints import Webhooks
from ...services.webhooks.redelivery import DeliveryView, Redelivery, Replay, Status
from ...services.webhooks.views import NewWebhook, WebhookChanges, WebhookView
from ...web.request_parsing import LARGEST_ID, Query
from .. import forms
from ..page import Page, ServicePage, decoded, redirect
from .event_words import EVENTS

# The user that owns the webhooks; None: operators.
Owner = int | None
_WEBHOOKS = 50
_DELIVERIES = 25
# How often the page asks for the result of a test. Without an end, it would keep the session alive.
_MOST_WAITS = 9
# A test is sent to the tested webhook alone.
_CHOICES = {kind: words for kind, words in EVENTS.items() if kind != "webhook.test"}
# Only operators' webhooks receive the deletion of a user.
_CHOICES_OF_USERS = {kind: words for kind, words in _CHOICES.items() if kind != "user.deleted"}


class _Event(msgspec.Struct):
    """The event that a form is about."""

    event_id: Id


class WebhooksPage(ServicePage[Webhooks]):
    """A user's webhooks, and the form for another one."""

    allow = users("webhooks")
    template = "customer/webhooks.html"

    def on_get(self, req: Request, resp: Response, user_id: Owner = None) -> None:
        query = Query(req)
        after = query.whole("after", 0, 0)
        query.check()
        page = self._service.page(user_id, after, _WEBHOOKS)
        self.show(
            req,
            resp,
            self.template,
            **_owner(user_id),
            webhooks=decoded(page.items, list[WebhookView]),
            next_after=page.next_after,
            **self.more(),
        )

    def more(self) -> dict[str, Any]:
        """Returns further values for the template."""
        return {}

    def on_post(self, req: Request, resp: Response, user_id: Owner = None) -> None:
        form = req.context.form
        fields = {"url": form["url"].strip(), "description": form["description"].strip()}
        new = forms.parse({**fields, "events": _events(form)}, NewWebhook)
        created = self._service.create(req.context.principal, user_id, new)
        resp.status = 201
        self.show(
            req,
            resp,
            "customer/webhook_secret.html",
            **_owner(user_id),
            webhook_id=created.id,
            secret=created.secret,
            both_sign_until=None,
        )


class WebhookPage(Page):
    """A webhook, its settings and its deliveries."""

    allow = users("webhooks")

    def __init__(self, webhooks: Webhooks, redelivery: Redelivery) -> None:
        self._webhooks = webhooks
        self._redelivery = redelivery

    def on_get(self, req: Request, resp: Response, webhook_id: int, user_id: Owner = None) -> None:
        query = Query(req)
        status = query.choice("status", Status) if req.get_param("status") else None
        before = query.whole("before", LARGEST_ID, 1)
        wait = query.whole("wait", 0, 0, _MOST_WAITS)
        query.check()
        webhook = self._webhooks.get(user_id, webhook_id)
        page = self._redelivery.newest(user_id, webhook_id, status, before, _DELIVERIES)
        self.show(
            req,
            resp,
            "customer/webhook.html",
            **_owner(user_id),
            webhook=decoded(webhook, WebhookView),
            tags={"webhook": tag_of_view(webhook)},
            deliveries=decoded(page.items, list[DeliveryView]),
            next_before=page.next_after,
            wait=wait,
            words=EVENTS,
        )

    def on_post(self, req: Request, resp: Response, webhook_id: int, user_id: Owner = None) -> None:
        # Before the fields are checked, so that another user's webhook looks nonexistent.
        self._webhooks.get(user_id, webhook_id)
        form, principal = req.context.form, req.context.principal
        webhook = principal, user_id, webhook_id
        done = "changed"
        actions = ("rotate", "delete", "test", "redeliver", "replay", "pause", "resume", "edit")
        match action := forms.action_of(form, *actions):
            case "rotate":
                self._show_new_secret(req, resp, user_id, webhook_id)
                return
            case "delete":
                self._webhooks.delete(*webhook, None)
                redirect(resp, f"{_webhooks_path(user_id)}?done=deleted")
                return
            case "test":
                self._webhooks.test(*webhook)
                done = f"test_queued&wait={_MOST_WAITS}"
            case "redeliver":
                event = forms.parse(_numbers(form, "event_id"), _Event)
                self._redelivery.redeliver(*webhook, event.event_id)
                done = "redelivery_queued"
            case "replay":
                events = forms.parse(_numbers(form, "after", "until"), Replay)
                self._redelivery.replay(*webhook, events)
                done = "replay_queued"
            case "pause" | "resume":
                state = "paused" if action == "pause" else "active"
                self._webhooks.change(*webhook, WebhookChanges(state=state), None)
            case _:
                fields = {"url": form["url"].strip(), "description": form["description"].strip()}
                changes = forms.parse({**fields, "events": _events(form)}, WebhookChanges)
                self._webhooks.change(*webhook, changes, forms.expected(form, "webhook"))
        redirect(resp, f"{_webhooks_path(user_id)}/{webhook_id}?done={done}")

    def _show_new_secret(
        self, req: Request, resp: Response, user_id: Owner, webhook_id: int
    ) -> None:
        view = self._webhooks.new_secret(req.context.principal, user_id, webhook_id)
        self.show(
            req,
            resp,
            "customer/webhook_secret.html",
            **_owner(user_id),
            webhook_id=webhook_id,
            secret=view.secret,
            both_sign_until=view.both_sign_until,
        )


def _owner(user_id: Owner) -> dict[str, Any]:
    """Returns what the templates need to know of the owner."""
    path = _webhooks_path(user_id)
    if user_id is None:
        return {"webhooks_path": path, "choices": _CHOICES}
    return {"webhooks_path": path, "choices": _CHOICES_OF_USERS, "user_id": user_id}


def _webhooks_path(user_id: Owner) -> str:
    return "/console/webhooks" if user_id is None else f"/console/users/{user_id}/webhooks"


def _events(form: forms.Form) -> list[str]:
    return form.every("events") if form["which"] == "some" else ["*"]


def _numbers(form: forms.Form, *names: str) -> dict[str, int | str | None]:
    """Returns the fields that are not blank."""
    return {name: forms.number(text) for name, text in form.filled(*names).items()}
