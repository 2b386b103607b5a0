"""The tables and the rules of one row; no I/O."""

from .audit import AuditEntry, AuditHead
from .base import Base
from .certificate import CONTENT, Certificate, CertificateVersion
from .hostname import CertificateHostname, HostnameClaim
from .intermediate import Intermediate
from .kept_answer import KeptAnswer
from .private_key import PrivateKey, UnsealedKey
from .service_state import ServiceState
from .token import Token
from .user import NEVER, User, email_key, new_revision
from .user_key import UserKey

__all__ = [
    "CONTENT",
    "NEVER",
    "AuditEntry",
    "AuditHead",
    "Base",
    "Certificate",
    "CertificateHostname",
    "CertificateVersion",
    "HostnameClaim",
    "Intermediate",
    "KeptAnswer",
    "PrivateKey",
    "ServiceState",
    "Token",
    "UnsealedKey",
    "User",
    "UserKey",
    "email_key",
    "new_revision",
]
