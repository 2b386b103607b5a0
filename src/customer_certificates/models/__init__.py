"""The tables, and rules about single rows; no I/O."""

from .audit import AuditEntry, AuditExport, AuditHead
from .base import Base
from .certificate import AS_BODY, CONTENT, Certificate, CertificateVersion, served_text
from .challenge import HostnameChallenge, HostnameTransfer
from .console_session import ConsoleLink, ConsoleSession
from .data_key import UserDataKey
from .delivery import PENDING, Delivery
from .email_verification import EmailVerification, EmailVerificationLink
from .event import Event
from .expiry_notice import ExpiryNotice
from .hostname import CertificateHostname, HostnameClaim, HostnameNotice
from .idempotency_record import IdempotencyRecord
from .intermediate import Intermediate
from .key_deletion import KeyDeletions
from .label import CertificateLabel, UserLabel
from .pem_text import stored_size
from .private_key import PrivateKey
from .rate_count import RateCount
from .service_state import ServiceLatch, ServiceSecret, ServiceState
from .summary import SummaryChange, SummaryDates, SummaryValue
from .terminator import PROBE, Serving, Terminator
from .token import Token
from .user import NEVER, User, email_key, new_revision
from .webhook import Webhook, WebhookSecret
