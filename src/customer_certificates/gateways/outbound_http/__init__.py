"""HTTP to addresses that customers name: never to where they could not go themselves.

docs/explanation/webhook-targets.md lists the refused addresses, and says how to allow one.
"""

from .client import Outbound
from .errors import TargetForbidden, TargetUnreachable
from .responses import Answer, Page

__all__ = ["Answer", "Outbound", "Page", "TargetForbidden", "TargetUnreachable"]
