"""/healthcheck, /livez and /readyz"""

from typing import Annotated

import msgspec
from falcon import Request, Response

from ..field_docs import doc
from ..services.access.permissions import ANYBODY
from ..services.health import Health, HealthView, ReadyView
from ..web import responses
from ..web.operations import Answer, operation
from ..web.resource import AnswersHead, Resource


class Alive(msgspec.Struct):
    """The process is running."""

    api: Annotated[int, doc("This service.", ge=1, le=1)] = 1


class HealthcheckResource(Resource[Health]):
    """The health of the service. Without the cache, the service is only slower."""

    @operation(
        "Check the health of the service",
        {
            200: Answer("The service works. If `cache` is 0, it is slower.", HealthView),
            503: Answer(
                "The service does not work. The part with the value 0 has failed.",
                HealthView,
                headers=("Retry-After",),
            ),
        },
        allow=ANYBODY,
    )
    def on_get(self, _req: Request, resp: Response) -> None:
        health = self._service.check()
        _send(resp, health, is_ok=bool(health.database))


class LivezResource(AnswersHead):
    """The liveness of this process. Checks nothing outside the process."""

    @operation(
        "Check that the process is running",
        {200: Answer("The process is running.", Alive)},
        asks_database=False,
        allow=ANYBODY,
    )
    def on_get(self, _req: Request, resp: Response) -> None:
        responses.send_uncached(resp, Alive())


class ReadyzResource(Resource[Health]):
    """The readiness of this process, for load balancers."""

    @operation(
        "Check that the process is ready for requests",
        {
            200: Answer("The process is ready.", ReadyView),
            503: Answer(
                "The process is not ready: it is draining, or it cannot reach the database.",
                ReadyView,
                headers=("Retry-After",),
            ),
        },
        allow=ANYBODY,
    )
    def on_get(self, _req: Request, resp: Response) -> None:
        ready = self._service.readiness()
        _send(resp, ready, is_ok=bool(ready.api and ready.database))


def _send(resp: Response, view: object, *, is_ok: bool) -> None:
    """Responds with `view`, and with 503 if the service does not work."""
    if not is_ok:
        resp.status = 503
        resp.set_header("Retry-After", "1")
    responses.send_uncached(resp, view)
