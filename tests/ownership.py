"""Parts that claim hostnames, for tests without HTTP."""

from collections.abc import Callable
from datetime import datetime

from customer_certificates.gateways.database import Database
from customer_certificates.pki.names.policy import NamePolicy
from customer_certificates.services.audit.log import Audit
from customer_certificates.services.certificates.versions.cutovers import Cutovers
from customer_certificates.services.events.log import Events
from customer_certificates.services.hostnames.ownership import Hostnames, OwnershipRules

# Names are claimed without proof, and no name is reserved by a setting.
PREFERRED = OwnershipRules(NamePolicy(), proof_required=False)


def hostnames_on(database: Database, now: Callable[[], datetime]) -> Hostnames:
    """The part that claims hostnames, by the rules PREFERRED."""
    return Hostnames(database, now, PREFERRED)


def cutovers_on(database: Database, now: Callable[[], datetime]) -> Cutovers:
    """The part that makes scheduled cutovers, as in a worker."""
    audit, events = Audit(database, now), Events(database, now)
    return Cutovers(database, hostnames_on(database, now), audit, events, now)
