"""The tables and the rules of one row; no I/O."""

from .base import Base
from .certificate import CONTENT, Certificate, CertificateVersion
from .hostname import CertificateHostname, HostnameClaim
from .intermediate import Intermediate
from .private_key import PrivateKey, UnsealedKey
from .user import NEVER, User, email_key, new_revision
from .user_key import UserKey

__all__ = [
    "CONTENT",
    "NEVER",
    "Base",
    "Certificate",
    "CertificateHostname",
    "CertificateVersion",
    "HostnameClaim",
    "Intermediate",
    "PrivateKey",
    "UnsealedKey",
    "User",
    "UserKey",
    "email_key",
    "new_revision",
]
