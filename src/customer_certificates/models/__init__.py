"""The tables and the rules of one row; no I/O."""

from .base import Base
from .certificate import Certificate
from .user import User, email_key, new_revision

__all__ = ["Base", "Certificate", "User", "email_key", "new_revision"]
