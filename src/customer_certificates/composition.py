"""The composition root: builds each part of the service from the settings."""

from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cached_property
from typing import Protocol, Self, TypeVar
from urllib.parse import urlsplit

from .config import Config
from .gateways.cache.counters import Counters
from .gateways.cache.page_cache import PageCache
from .gateways.database import Database
from .gateways.database.changes import Changes
from .gateways.dns import Dns, Edge
from .gateways.http_files import HttpFiles
from .gateways.master_keys import MasterKeys, open_master_keys
from .gateways.metrics import Metrics
from .gateways.outbound_http import Outbound
from .gateways.outbound_http.client import ATTEMPT_SECONDS
from .gateways.sandbox.pool import SandboxPool
from .gateways.smtp import Mailer
from .pki.names.hostnames import normalise
from .pki.names.policy import NamePolicy
from .pki.validation import TrustedRoots, encode, validator_of
from .services.access.authentication import Authentication
from .services.access.console_links import ConsoleLinks
from .services.access.console_sessions import ConsoleSessions
from .services.access.login_throttle import LoginThrottle
from .services.access.token_usage import TokenUsage
from .services.access.tokens import Tokens
from .services.audit.listing import AuditPages
from .services.audit.log import Audit
from .services.certificates.candidates import Candidates
from .services.certificates.intermediates import Intermediates
from .services.certificates.listing import Listing
from .services.certificates.parts import CertificateParts
from .services.certificates.service import Certificates
from .services.certificates.validation import Validation
from .services.certificates.versions.service import Versions
from .services.challenges.checks import Checks
from .services.challenges.contested import ContestedHostnames
from .services.challenges.limits import CheckLimits
from .services.challenges.proving import Proving
from .services.challenges.service import Challenges
from .services.events.listing import EventPages
from .services.events.log import Events
from .services.expiry.upcoming import Expiring
from .services.fleet.expiring import FleetExpiring
from .services.fleet.incidents import Incidents
from .services.fleet.search import Fleet
from .services.fleet.summary import Summary
from .services.fleet.summary_counters import SummaryCounters
from .services.health import Health
from .services.hostnames.owners import HostnameOwners
from .services.hostnames.ownership import Hostnames, OwnershipRules
from .services.idempotency import IdempotencyStore
from .services.keys.data_keys import DataKeys
from .services.keys.database_secret import DatabaseSecret
from .services.keys.private_keys import PrivateKeys
from .services.revisions import Revisions
from .services.terminators.exports import Terminators
from .services.terminators.feed import Feed
from .services.terminators.hostname_states import HostnameStates
from .services.terminators.key_release import KeyRelease
from .services.terminators.listing import TerminatorPages
from .services.terminators.reports import TerminatorReports
from .services.terminators.resolver import Resolver
from .services.terminators.serving_counts import ServingCounts
from .services.terminators.states import TerminatorStates
from .services.users.address_verification import AddressVerification
from .services.users.email_verifications import EmailVerifications
from .services.users.password_hashing import Passwords
from .services.users.quotas import Quotas
from .services.users.users import Users
from .services.webhooks.backlog import Backlogs
from .services.webhooks.endpoints import Webhooks
from .services.webhooks.redelivery import Redelivery
from .services.webhooks.secrets import WebhookSecrets

# The most requests that wait for a password to be hashed. Others are rejected.
_WAITING_PASSWORDS = 64
_CHALLENGE_FILE_SECONDS = 5.0


def utc_now() -> datetime:
    """Returns the current time, aware of its zone."""
    return datetime.now(UTC)


class _Closable(Protocol):
    def close(self) -> object: ...


_Part = TypeVar("_Part", bound=_Closable)


class Services(ExitStack):
    """The parts of one process. Each is built once, when it is first used.

    `threads` bounds the database connections of the process. `close` closes the parts that were
    built, in reverse order. Parts raise MasterKeyError if a master key cannot be used. No part
    connects to a server when it is built.
    """

    def __init__(
        self,
        config: Config,
        now: Callable[[], datetime] = utc_now,
        *,
        threads: int | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.now = now
        self.metrics = metrics or Metrics(config.metrics_folder)
        self._threads = threads or config.threads

    @classmethod
    def of_command(cls, config: Config, *, threads: int = 2) -> Self:
        """Returns the parts of a command, which records no metrics."""
        return cls(config, threads=threads, metrics=Metrics(None))

    def _closed_later(self, part: _Part) -> _Part:
        self.callback(part.close)
        return part

    # Gateways

    @cached_property
    def database(self) -> Database:
        url = self.config.database_url
        return self._closed_later(Database(url, self.metrics, threads=self._threads))

    @cached_property
    def page_cache(self) -> PageCache:
        key = DatabaseSecret(self.database).key_of_cached_pages
        return self._closed_later(PageCache(self.config.cache_url, self.metrics, key))

    @cached_property
    def master_keys(self) -> MasterKeys:
        config = self.config
        keys = open_master_keys(
            config.master_key, config.previous_master_keys, config.transit_token
        )
        return self._closed_later(keys)

    @cached_property
    def sandbox(self) -> SandboxPool:
        roots = TrustedRoots(self.config.roots_pem, self.config.proving_roots_pem)
        sandbox = SandboxPool(
            validator_of,
            encode(roots),
            size=self.config.sandbox_processes,
            on_exit=self.metrics.sandbox_ended,
            on_refusal=self.metrics.request_rejected,
        )
        return self._closed_later(sandbox)

    @cached_property
    def changes(self) -> Changes:
        """Wakes requests that wait for a change of the feed."""
        return self._closed_later(Changes(self.database.listen))

    @cached_property
    def outbound(self) -> Outbound:
        return self._closed_later(self._outbound(https_only=self.config.asks_credentials))

    def _outbound(self, *, https_only: bool, seconds: float = ATTEMPT_SECONDS) -> Outbound:
        config = self.config
        return Outbound(
            https_only=https_only,
            allowed=config.webhook_allowed_networks,
            own=config.own_addresses,
            roots_pem=config.roots_pem,
            seconds=seconds,
        )

    @cached_property
    def mailer(self) -> Mailer | None:
        """The mail server; None if none is configured."""
        config = self.config
        if config.smtp is None or config.mail_from is None:
            return None
        return Mailer(config.smtp, config.mail_from, config.roots_pem)

    # Keys, audit and events

    @cached_property
    def data_keys(self) -> DataKeys:
        return self._closed_later(DataKeys(self.database, self.master_keys, self.now))

    @cached_property
    def private_keys(self) -> PrivateKeys:
        return PrivateKeys(self.database)

    @cached_property
    def webhook_secrets(self) -> WebhookSecrets:
        return self._closed_later(WebhookSecrets(self.database, self.master_keys, self.now))

    @cached_property
    def audit(self) -> Audit:
        return Audit(self.database, self.now)

    @cached_property
    def audit_pages(self) -> AuditPages:
        return AuditPages(self.database)

    @cached_property
    def events(self) -> Events:
        return Events(self.database, self.now)

    @cached_property
    def event_pages(self) -> EventPages:
        return EventPages(self.database, self.now)

    @cached_property
    def idempotency(self) -> IdempotencyStore:
        return IdempotencyStore(self.database, self.now)

    # Users and access

    @cached_property
    def passwords(self) -> Passwords:
        cost, waiting = self.config.password_cost, _WAITING_PASSWORDS
        return self._closed_later(Passwords(cost, self.metrics, waiting=waiting))

    @cached_property
    def address_verification(self) -> AddressVerification:
        return AddressVerification(self.database, self.now, by_mail=self.config.mails_links)

    @cached_property
    def users(self) -> Users:
        return Users(
            self.database,
            self.passwords,
            self.hostnames,
            self.audit,
            self.events,
            self.address_verification,
            self.now,
            strong_passwords=self.config.asks_credentials,
        )

    @cached_property
    def email_verifications(self) -> EmailVerifications:
        return EmailVerifications(
            self.database, self.address_verification, self.audit, self.events, self.now
        )

    @cached_property
    def quotas(self) -> Quotas:
        return Quotas(self.database, self.audit, self.now)

    @cached_property
    def tokens(self) -> Tokens:
        return Tokens(self.database, self.audit, self.now)

    @cached_property
    def authentication(self) -> Authentication:
        attempts = LoginThrottle(Counters(self.page_cache.redis), self.now)
        usage = self._closed_later(TokenUsage(self.database))
        return Authentication(self.database, self.users, attempts, usage, self.audit, self.now)

    @cached_property
    def console_sessions(self) -> ConsoleSessions:
        return ConsoleSessions(self.database, self.authentication, self.audit, self.now)

    @cached_property
    def console_links(self) -> ConsoleLinks:
        config = self.config
        return ConsoleLinks(
            self.database,
            self.console_sessions,
            self.audit,
            self.now,
            public_origin=config.public_origin,
            return_origins=config.console_return_origins,
        )

    # Certificates and hostnames

    @cached_property
    def intermediates(self) -> Intermediates:
        return Intermediates(self.database)

    @cached_property
    def validation(self) -> Validation:
        enforce = self.config.upload_checks == "enforce"
        return Validation(self.sandbox, self.intermediates, self.now, self.metrics, enforce=enforce)

    @cached_property
    def revisions(self) -> Revisions:
        return Revisions(self.database, self.now)

    @cached_property
    def ownership_rules(self) -> OwnershipRules:
        config = self.config
        own = (urlsplit(config.public_url or "").hostname, config.challenge_domain)
        reserved = (*config.reserved_hostnames, *filter(None, own))
        policy = NamePolicy(_normalized(reserved), _normalized(config.edge_targets))
        return OwnershipRules(policy, config.hostname_proof == "required")

    @cached_property
    def hostnames(self) -> Hostnames:
        return Hostnames(self.database, self.now, self.ownership_rules)

    @cached_property
    def hostname_owners(self) -> HostnameOwners:
        return HostnameOwners(self.database, self.hostnames, self.audit, self.now)

    @cached_property
    def _certificate_parts(self) -> CertificateParts:
        return CertificateParts(
            self.database,
            self.validation,
            self.intermediates,
            self.hostnames,
            self.revisions,
            self.audit,
            self.events,
            self.data_keys,
            self.private_keys,
            self.now,
        )

    @cached_property
    def certificates(self) -> Certificates:
        return Certificates(self._certificate_parts)

    @cached_property
    def versions(self) -> Versions:
        return Versions(self._certificate_parts)

    @cached_property
    def listing(self) -> Listing:
        return Listing(self.database, self.page_cache, self.revisions)

    @cached_property
    def expiring(self) -> Expiring:
        return Expiring(self.database, self.revisions, self.audit, self.now)

    # The fleet: all users, for operators

    @cached_property
    def summary(self) -> Summary:
        return Summary(self.database, self.now)

    @cached_property
    def summary_counters(self) -> SummaryCounters:
        return SummaryCounters(self.database, self.now)

    @cached_property
    def incidents(self) -> Incidents:
        return Incidents(self.database, self.now)

    @cached_property
    def fleet(self) -> Fleet:
        return Fleet(self.database, self.now)

    @cached_property
    def fleet_expiring(self) -> FleetExpiring:
        return FleetExpiring(self.database, self.now)

    # Challenges

    @cached_property
    def dns(self) -> Dns:
        return Dns(self.config.dns_resolvers)

    @cached_property
    def challenge_checks(self) -> Checks:
        # Customers have no certificate yet when they prove a hostname.
        files = HttpFiles(self._outbound(https_only=False, seconds=_CHALLENGE_FILE_SECONDS))
        edge = Edge(self.dns, self.config.edge_targets)
        return Checks(self.dns, edge, files, self.config.challenge_domain)

    @cached_property
    def check_limits(self) -> CheckLimits:
        return CheckLimits(self.database, self.dns, self.now)

    @cached_property
    def proving(self) -> Proving:
        return Proving(self.database, self.challenge_checks, self.hostnames, self.audit, self.now)

    @cached_property
    def challenges(self) -> Challenges:
        return Challenges(
            self.database,
            self.challenge_checks,
            self.proving,
            self.check_limits,
            self.ownership_rules,
            self.audit,
            self.now,
            # The most requests that wait for DNS. Others are rejected.
            concurrent_checks=self.config.threads // 2,
        )

    @cached_property
    def contested_hostnames(self) -> ContestedHostnames:
        return ContestedHostnames(self.database)

    # Terminators

    @cached_property
    def candidates(self) -> Candidates:
        return Candidates(self.database)

    @cached_property
    def key_release(self) -> KeyRelease:
        return KeyRelease(self.database, self.data_keys, self.private_keys, self.audit, self.now)

    @cached_property
    def resolver(self) -> Resolver:
        return Resolver(self.candidates, self.now)

    @cached_property
    def hostname_states(self) -> HostnameStates:
        return HostnameStates(self.database, self.now)

    @cached_property
    def terminators(self) -> Terminators:
        return Terminators(self.database, self.candidates, self.key_release, self.now)

    @cached_property
    def feed(self) -> Feed:
        return Feed(
            self.database,
            self.candidates,
            self.key_release,
            self.changes,
            self.metrics,
            self.now,
            waiting=self.config.most_connections // 2,
        )

    @cached_property
    def terminator_reports(self) -> TerminatorReports:
        return TerminatorReports(self.database, self.audit, self.events, self.now)

    @cached_property
    def terminator_states(self) -> TerminatorStates:
        return TerminatorStates(self.database, self.now)

    @cached_property
    def terminator_pages(self) -> TerminatorPages:
        return TerminatorPages(self.database, self.feed)

    @cached_property
    def serving_counts(self) -> ServingCounts:
        return ServingCounts(self.database, self.now)

    # Webhooks and health

    @cached_property
    def webhooks(self) -> Webhooks:
        return Webhooks(
            self.database, self.outbound, self.webhook_secrets, self.audit, self.events, self.now
        )

    @cached_property
    def redelivery(self) -> Redelivery:
        return Redelivery(self.database, self.webhooks, self.audit, self.now)

    @cached_property
    def backlogs(self) -> Backlogs:
        return Backlogs(self.database)

    @cached_property
    def health(self) -> Health:
        return Health(self.database, self.page_cache)


def _normalized(names: tuple[str, ...]) -> list[str]:
    return [normalise(name) or name for name in names]
