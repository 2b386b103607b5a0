"""/metrics"""

from falcon import Request, Response

from ..gateways.metrics import Metrics


class MetricsResource:
    """What the service counts of itself, over all its worker processes."""

    speaks_json = False

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def on_get(self, _req: Request, resp: Response) -> None:
        resp.content_type = self._metrics.content_type
        resp.data = self._metrics.exposition()

    on_head = on_get
