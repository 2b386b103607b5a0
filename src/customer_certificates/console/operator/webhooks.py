"""/console/webhooks and its subpaths: operators' webhooks, and the backlogs of all"""

from typing import Any

from ...services.access.permissions import OPERATORS
from ...services.webhooks.backlog import MOST_COUNTED, Backlogs
from ...services.webhooks.endpoints import Webhooks
from ..customer.webhooks import WebhookPage, WebhooksPage

_BACKLOGS = 20


class AllWebhooksPage(WebhooksPage):
    """The webhooks that get events of all users, and the largest backlogs of all webhooks."""

    allow = OPERATORS
    template = "operator/webhooks.html"

    def __init__(self, webhooks: Webhooks, backlogs: Backlogs) -> None:
        super().__init__(webhooks)
        self._backlogs = backlogs

    def more(self) -> dict[str, Any]:
        """Returns the backlogs."""
        pending, dead = self._backlogs.total()
        backlogs = self._backlogs.largest(_BACKLOGS) if pending or dead else []
        counts = {"pending": pending, "dead": dead, "most_counted": MOST_COUNTED}
        return {**counts, "backlogs": backlogs}


class OperatorWebhookPage(WebhookPage):
    """A webhook of operators."""

    allow = OPERATORS
