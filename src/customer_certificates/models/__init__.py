"""The tables and the rules of one row; no I/O."""

from .audit import AuditEntry, AuditHead
from .base import Base
from .certificate import CONTENT, Certificate, CertificateVersion
from .delivery import PENDING, Delivery
from .event import Event
from .expiry_notice import ExpiryNotice
from .hostname import CertificateHostname, HostnameClaim
from .intermediate import Intermediate
from .kept_answer import KeptAnswer
from .private_key import PrivateKey, UnsealedKey
from .registration import Registration
from .service_state import ServiceState
from .terminator import Serving, Terminator
from .token import Token
from .user import NEVER, User, email_key, new_revision
from .user_key import UserKey
from .webhook import Webhook, WebhookSecret

__all__ = [
    "CONTENT",
    "NEVER",
    "PENDING",
    "AuditEntry",
    "AuditHead",
    "Base",
    "Certificate",
    "CertificateHostname",
    "CertificateVersion",
    "Delivery",
    "Event",
    "ExpiryNotice",
    "HostnameClaim",
    "Intermediate",
    "KeptAnswer",
    "PrivateKey",
    "Registration",
    "ServiceState",
    "Serving",
    "Terminator",
    "Token",
    "UnsealedKey",
    "User",
    "UserKey",
    "Webhook",
    "WebhookSecret",
    "email_key",
    "new_revision",
]
