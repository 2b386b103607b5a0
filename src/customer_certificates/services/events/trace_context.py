"""W3C Trace Context: the trace of a request, and of its events and deliveries.

Each request sets its span first, in a context variable, so it never sees the span of another. Only
`traceparent` is passed on. `tracestate` may have data of other systems, so it is ignored.
"""

import re
from contextvars import ContextVar
from random import getrandbits

# The version, the trace, the caller's span, the flags. A later version may have more.
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1
_span: ContextVar[str | None] = ContextVar("span", default=None)


def child_of(traceparent: str | None) -> str | None:
    """Returns the traceparent of a new child span of `traceparent`; None if that is invalid."""
    match = _TRACEPARENT.fullmatch(traceparent or "")
    if not match:
        return None
    version, trace, parent, flags, extra = match.groups()
    if version == "ff" or (version == "00" and extra) or not int(trace, 16) or not int(parent, 16):
        return None
    return f"00-{trace}-{getrandbits(64) or 1:016x}-{int(flags, 16) & _SAMPLED:02x}"


def set_span(traceparent: str | None) -> None:
    """Sets the span of the current request; None: there is none."""
    _span.set(traceparent)


def span() -> str | None:
    """Returns the traceparent of the current request, if it has one."""
    return _span.get()
