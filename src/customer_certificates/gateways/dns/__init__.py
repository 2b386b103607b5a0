"""DNS lookups of names that customers choose: bounded in time and size, and never half an answer.

Every configured resolver is asked. A stub like this one does not validate DNSSEC: bogus records are
noticed only by a resolver that validates (it answers SERVFAIL, which is a failure here).
"""

from .edge import Edge
from .lookups import Answer, Dns, LookupFailed

__all__ = ["Answer", "Dns", "Edge", "LookupFailed"]
