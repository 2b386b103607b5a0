"""Bounded DNS lookups of names that customers choose, without partial answers.

The service queries every configured resolver. It does not validate DNSSEC itself: only a validating
resolver notices bogus records. It answers SERVFAIL, which counts as a failure here.
"""

from .edge import Edge
from .lookups import Answer, Dns, LookupFailed

__all__ = ["Answer", "Dns", "Edge", "LookupFailed"]
