"""HTTP to addresses that customers name: never to where they could not go themselves.

docs/webhook-targets.md says for operators what is refused, and how to let something through.
"""

from .answers import Answer, Page
from .forbidden import TargetForbidden, TargetUnreachable
from .send import Outbound

__all__ = ["Answer", "Outbound", "Page", "TargetForbidden", "TargetUnreachable"]
