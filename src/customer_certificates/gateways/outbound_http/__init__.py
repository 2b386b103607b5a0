"""HTTP to addresses that customers name: never to where they could not go themselves.

docs/webhook-targets.md says for operators what is refused, and how to let something through.
"""

from .client import Outbound
from .errors import TargetForbidden, TargetUnreachable
from .responses import Answer, Page

__all__ = ["Answer", "Outbound", "Page", "TargetForbidden", "TargetUnreachable"]
