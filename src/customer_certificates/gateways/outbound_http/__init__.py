"""HTTP to addresses that customers name, with protection against SSRF.

docs/explanation/webhook-targets.md lists the blocked addresses, and says how to allow one.
"""

from .client import Outbound
from .errors import TargetForbidden, TargetUnreachable
from .responses import GetResponse, PostResponse

__all__ = ["GetResponse", "Outbound", "PostResponse", "TargetForbidden", "TargetUnreachable"]
