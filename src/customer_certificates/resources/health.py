"""/healthcheck, /livez and /readyz"""

from typing import Annotated

import msgspec
from falcon import Request, Response
from msgspec import Meta

from ..services.access.permissions import ANYBODY
from ..services.health import Health, HealthView, ReadyView
from ..web.operations import Answer, operation


class Alive(msgspec.Struct):
    """The process answers."""

    api: Annotated[int, Meta(ge=1, le=1, description="This service.")] = 1


class HealthcheckResource:
    """Whether the service can do its work. A cache that is down makes it slower, not broken."""

    def __init__(self, health: Health) -> None:
        self._health = health

    @operation(
        "Whether the service can do its work",
        {
            200: Answer("It can; a cache that is 0 makes it slower.", HealthView),
            503: Answer(
                "It cannot: the part that is 0 is why.", HealthView, headers=("Retry-After",)
            ),
        },
        allow=ANYBODY,
    )
    def on_get(self, _req: Request, resp: Response) -> None:
        health = self._health.check()
        if not health.database:
            resp.status = 503
            resp.set_header("Retry-After", "1")
        resp.set_header("Cache-Control", "no-store")
        resp.data = msgspec.json.encode(health)

    on_head = on_get


class LivezResource:
    """Whether this process answers; touches nothing outside it."""

    @operation(
        "Whether the process answers",
        {200: Answer("It does.", Alive)},
        asks_database=False,
        allow=ANYBODY,
    )
    def on_get(self, _req: Request, resp: Response) -> None:
        resp.set_header("Cache-Control", "no-store")
        resp.data = msgspec.json.encode(Alive())

    on_head = on_get


class ReadyzResource:
    """Whether this process can take requests: a load balancer sends none while it cannot."""

    def __init__(self, health: Health) -> None:
        self._health = health

    @operation(
        "Whether the process is ready for requests",
        {
            200: Answer("It is ready.", ReadyView),
            503: Answer(
                "It is not ready: it is draining, or it cannot reach the database.",
                ReadyView,
                headers=("Retry-After",),
            ),
        },
        allow=ANYBODY,
    )
    def on_get(self, _req: Request, resp: Response) -> None:
        ready = self._health.readiness()
        if not (ready.api and ready.database):
            resp.status = 503
            resp.set_header("Retry-After", "1")
        resp.set_header("Cache-Control", "no-store")
        resp.data = msgspec.json.encode(ready)

    on_head = on_get
