"""The query parameters that select certificates."""

from typing import Annotated, get_args

from msgspec import Meta

from ..models.certificate import MOST_ISSUER_CHARACTERS, MOST_SERIAL_CHARACTERS
from ..pki.submission import Trust
from ..services.certificates.views import Status
from ..services.fleet.criteria import FleetFilter
from ..services.fleet.incidents import IncidentCriteria
from ..services.labels import ExternalId
from ..services.pages import CURSOR
from .operations import Parameter
from .request_parsing import SERIAL, SHA256, Query

HOSTNAME = Parameter(
    "hostname",
    "Return only certificates for this DNS name or IP address, or for a wildcard that covers it.",
    {
        "type": "string",
        "minLength": 1,
        "maxLength": 253,
        "pattern": r"^[^\x00]*$",
        "examples": ["www.example.com"],
    },
)
EXPIRES_BEFORE = Parameter(
    "expires_before",
    "Return only certificates that expire before this time (RFC 3339).",
    {"type": "string", "format": "date-time", "examples": ["2026-12-24T00:00:00Z"]},
)
STATUS = Parameter(
    "status",
    "Return only certificates with this status.",
    {"type": "string", "enum": list(get_args(Status))},
)
FINGERPRINT = Parameter(
    "fingerprint",
    "Return only the certificate with this SHA-256 fingerprint (hexadecimal, colons optional).",
    {"type": "string", "pattern": SHA256},
)
TRUST = Parameter(
    "trust",
    "Return only certificates with this trust level.",
    {"type": "string", "enum": list(get_args(Trust))},
)
EXPIRES_AFTER = Parameter(
    "expires_after",
    "Return only certificates that expire at this time (RFC 3339) or later.",
    {"type": "string", "format": "date-time", "examples": ["2026-11-24T00:00:00Z"]},
)
ISSUER = Parameter(
    "issuer",
    "Return only certificates whose issuer is exactly this, as a certificate shows it.",
    {
        "type": "string",
        "minLength": 1,
        "maxLength": MOST_ISSUER_CHARACTERS,
        "pattern": r"^[^\x00]*$",
        "examples": ["CN=R10,O=Let's Encrypt,C=US"],
    },
)
SERIAL_NUMBER = Parameter(
    "serial",
    "Return only certificates with this serial number (hexadecimal; colons, `0x` and leading zeros "
    "are optional).",
    {"type": "string", "maxLength": MOST_SERIAL_CHARACTERS, "pattern": SERIAL},
)
SPKI = Parameter(
    "spki",
    "Return only certificates whose public key (SPKI) has this SHA-256 (hexadecimal, colons "
    "optional).",
    {"type": "string", "pattern": SHA256},
)
SERVABLE = Parameter(
    "servable",
    "Return only certificates that a server may serve now if they are active (true), or the others "
    "(false).",
    {"type": "string", "enum": ["true", "false"]},
)
USER = Parameter(
    "user",
    "Return only certificates of the user with this id.",
    {"type": "integer", "minimum": 1, "maximum": 2**63 - 1},
)
EXTERNAL_ID = Parameter(
    "external_id",
    "Return only certificates of the user with this external id.",
    {"type": "string", "minLength": 1, "maxLength": 255, "examples": ["customer-4711"]},
)
WITHIN = Parameter(
    "within",
    "Return certificates that expire within this many days or have expired. Default: 30d.",
    {"type": "string", "pattern": "^[0-9]{1,4}d$", "examples": ["30d"]},
)
COVERED = Parameter(
    "covered",
    "Return only certificates whose hostnames others cover after the expiry (true), or the others "
    "(false).",
    {"type": "string", "enum": ["true", "false"]},
)
AFTER_CURSOR = Parameter(
    "after",
    "Return only items after this cursor. The Link header of the previous page has it.",
    {"type": "string", "pattern": CURSOR, "examples": ["1798016400000000_1"]},
)
# Of one incident.
MOST_SERIALS = 100
_Name = Annotated[str, Meta(min_length=1, max_length=253, pattern=r"^[^\x00]*$")]
_Issuer = Annotated[
    str, Meta(min_length=1, max_length=MOST_ISSUER_CHARACTERS, pattern=r"^[^\x00]*$")
]


def hostname_of(query: Query) -> str | None:
    """Returns the hostname that certificates must have."""
    return query.text("hostname", _Name, "a hostname", "www.example.com")


def issuer_of(query: Query) -> str | None:
    """Returns the issuer that certificates must have."""
    requirement = f"an issuer of at most {MOST_ISSUER_CHARACTERS} characters"
    return query.text("issuer", _Issuer, requirement, "CN=R10,O=Let's Encrypt,C=US")


def fleet_filter_of(query: Query) -> FleetFilter:
    """Returns the conditions of a search over all users."""
    return FleetFilter(
        hostname_of(query),
        query.time("expires_before"),
        query.time("expires_after"),
        issuer_of(query),
        query.serial("serial"),
        query.sha256("spki"),
        query.sha256("fingerprint"),
        query.choice("status", Status),
        query.choice("trust", Trust),
        query.flag("servable"),
        query.whole("user", 0, 1) or None,
        query.text("external_id", ExternalId, "an external id", "customer-4711"),
        query.labels(),
    )


def incident_of(query: Query) -> IncidentCriteria:
    """Returns the certificates of an incident, which exactly one parameter selects."""
    criteria = IncidentCriteria(
        issuer_of(query),
        query.sha256("spki"),
        query.serials("serials", MOST_SERIALS),
        query.time("since"),
    )
    query.require_one("issuer", "spki", "serials")
    return criteria
