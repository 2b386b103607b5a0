"""/metrics"""

from falcon import Request, Response

from ..gateways.metrics import Metrics
from ..services.access.permissions import OPERATORS
from ..web.operations import operation
from ..web.resource import AnswersHead


class MetricsResource(AnswersHead):
    """Metrics of all worker processes, for Prometheus."""

    speaks_json = False

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    @operation("Show metrics", {}, allow=OPERATORS)
    def on_get(self, _req: Request, resp: Response) -> None:
        resp.content_type = self._metrics.content_type
        resp.data = self._metrics.exposition()
