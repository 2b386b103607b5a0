"""Parts that claim hostnames, for what is tested without HTTP."""

from collections.abc import Callable
from datetime import datetime

from customer_certificates.gateways.database import Database
from customer_certificates.pki.names.policy import NamePolicy
from customer_certificates.services.hostnames.ownership import Hostnames, OwnershipRules

# Names are claimed without proof, and no name is reserved by a setting.
PREFERRED = OwnershipRules(NamePolicy(), proof_required=False)


def hostnames_on(database: Database, now: Callable[[], datetime]) -> Hostnames:
    """The part that claims hostnames, by the rules PREFERRED."""
    return Hostnames(database, now, PREFERRED)
