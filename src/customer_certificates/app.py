"""Builds the parts, puts them together, and lists the routes."""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import falcon
from falcon.routing.converters import BaseConverter

from .composition.examinations import roots_of
from .composition.keys import master_keys_of
from .composition.ownership import ownership_rules
from .composition.proofs import proofs_of
from .config import Config
from .errors import Refusal
from .gateways.cache.counters import Counters
from .gateways.cache.page_cache import Pages
from .gateways.database import Database, modes
from .gateways.database.changes import Changes
from .gateways.metrics import Metrics
from .gateways.outbound_http import Outbound
from .gateways.request_lines import RequestLines
from .gateways.sandbox.pool import Children
from .middleware.access_log import RequestLog
from .middleware.authentication import Authenticated
from .middleware.client_address import Peer
from .middleware.idempotency import Idempotency
from .middleware.json_only import JsonOnly
from .middleware.loopback_only import OpenMode
from .middleware.query_parameters import QueryParameters
from .middleware.rate_limit import Limits, LimitsOfRefused
from .middleware.refused import Refused
from .middleware.tenants import Tenants
from .pki.examination import examiner_of
from .pki.names.hostnames import normalise
from .resources.audit import AuditResource, UserAuditResource
from .resources.certificates import (
    ActiveResource,
    CertificateResource,
    CertificatesResource,
    CheckResource,
)
from .resources.challenges import ChallengeResource, VerifyResource
from .resources.docs import DocsResource, OpenApiResource, RootResource
from .resources.events import EventsResource
from .resources.expiry import ExpiringResource, ExpirySettingsResource
from .resources.health import HealthcheckResource, LivezResource, ReadyzResource
from .resources.hostnames import (
    HostnameResource,
    HostnamesResource,
    UserHostnameResource,
    UserHostnamesResource,
)
from .resources.metrics import MetricsResource
from .resources.resolver import ResolveResource
from .resources.terminators import (
    CaddyAskResource,
    CaddyResource,
    FeedResource,
    ReportsResource,
    TerminatorResource,
    TerminatorsResource,
    TraefikResource,
)
from .resources.users.email_verification import (
    EmailVerificationLinkResource,
    UserEmailVerificationResource,
)
from .resources.users.quotas import QuotasResource
from .resources.users.tokens import TokenResource, TokensResource
from .resources.users.users import UserResource, UsersResource
from .resources.versions import PendingResource, RollbackResource, VersionsResource
from .resources.webhooks import webhook_routes
from .services.access.authentication import Authentication
from .services.access.login_throttle import Attempts
from .services.access.permissions import OPERATORS
from .services.access.permissions import users as of_users
from .services.access.token_usage import LastUses
from .services.access.tokens import Tokens
from .services.audit.listing import AuditPages
from .services.audit.log import Audit
from .services.certificates.candidates import Candidates
from .services.certificates.intermediates import Intermediates
from .services.certificates.listing import Listing
from .services.certificates.service import Certificates
from .services.certificates.validation import Inspection
from .services.certificates.versions.service import Versions
from .services.challenges.service import Challenges
from .services.events.listing import EventPages
from .services.events.log import Events
from .services.expiry.upcoming import Expiring
from .services.health import Health
from .services.hostnames.owners import HostnameOwners
from .services.hostnames.ownership import Hostnames
from .services.idempotency import Repeats, Replayed
from .services.keys.data_keys import DataKeys
from .services.keys.database_secret import DatabaseSecret
from .services.keys.private_keys import PrivateKeys
from .services.revisions import Revisions
from .services.terminators.exports import Terminators
from .services.terminators.feed import Feed
from .services.terminators.key_release import ServedKeys
from .services.terminators.listing import TerminatorPages
from .services.terminators.reports import ServingStates
from .services.terminators.resolver import Resolving
from .services.users.address_verification import AddressVerification
from .services.users.email_verifications import EmailVerifications
from .services.users.password_hashing import Passwords
from .services.users.quotas import Quotas
from .services.users.users import Users
from .services.webhooks.endpoints import Webhooks
from .services.webhooks.redelivery import Redelivery
from .services.webhooks.secrets import WebhookSecrets
from .web import openapi, problems
from .web import responses as replies
from .web.request_parsing import LARGEST_ID

_HEALTH = ("/healthcheck", "/livez", "/readyz")
# So many requests at once wait for a password to be hashed; others are refused.
_PASSWORDS_AT_ONCE = 64


class IdConverter(BaseConverter):
    """A positive integer that a database's bigint holds, written in one way only."""

    def convert(self, value: str) -> int | None:
        """The id, or None: there is nothing at such a path."""
        if re.fullmatch("[1-9][0-9]{0,18}", value) and int(value) <= LARGEST_ID:
            return int(value)
        return None


class HostnameConverter(BaseConverter):
    """A hostname, a wildcard or an IP address, normalized."""

    def convert(self, value: str) -> str | None:
        """Returns the hostname, or None: there is nothing at such a path."""
        return normalise(value)


def _now() -> datetime:
    return datetime.now(UTC)


def description() -> dict[str, Any]:
    """What /openapi.json says."""
    nothing: Any = None
    return openapi.document(_routes(*[nothing] * 20))


class Application(falcon.App[falcon.Request, falcon.Response]):
    """The WSGI application; `close` ends what it holds open, `stop_waiting` answers those who wait
    for something to change, `on_cut` counts a client's connection that was cut.

    `admin` is the one for those who watch over the service, and asks nobody who they are.
    """

    # Falcon would refuse WEBSOCKET before any middleware sees it, and so without a request id.
    _META_METHODS = frozenset()

    close: Callable[[], object]
    on_cut: Callable[[str], None]
    stop_waiting: Callable[[], None]
    admin: "Application"

    def add_routes(self, routes: Iterable[openapi.Route]) -> None:
        """Adds the routes, and what all of them have in common."""
        self.req_options.strip_url_path_trailing_slash = True
        self.router_options.converters["id"] = IdConverter
        self.router_options.converters["hostname"] = HostnameConverter
        self.add_error_handler(Exception, problems.fail)
        self.add_error_handler(falcon.HTTPError, problems.refuse_http)
        self.add_error_handler(Refusal, problems.refuse)
        for template, resource in routes:
            self.add_route(template, resource)


def create_app(config: Config, now: Callable[[], datetime] = _now) -> Application:
    """The WSGI application for `config`; `now` tells the time, aware of its zone.

    The database's schema must be at head. Raises MasterKeyError for a master key that cannot be
    used; nothing where a server does not answer yet: the requests that need it are refused until
    it does.
    """
    master_keys = master_keys_of(config)
    metrics = Metrics(config.metrics_folder)
    lines = RequestLines()
    database = Database(config.database_url, metrics, threads=config.threads)
    pages = Pages(config.cache_url, metrics, DatabaseSecret(database).key_of_cached_pages)
    children = Children(
        examiner_of,
        roots_of(config),
        size=config.children,
        count=metrics.child_ended,
        on_refusal=metrics.refused_busy,
    )
    passwords = Passwords(config.password_cost, metrics, waiting=_PASSWORDS_AT_ONCE)
    intermediates = Intermediates(database)
    inspection = Inspection(children, intermediates, now, enforce=config.upload_checks == "enforce")
    revisions = Revisions(database, now)
    audit, events = Audit(database, now), Events(database, now)
    data_keys, private_keys = DataKeys(database, master_keys, now), PrivateKeys(database)
    rules = ownership_rules(config)
    hostnames = Hostnames(database, now, rules)
    parts = (
        database,
        inspection,
        intermediates,
        hostnames,
        revisions,
        audit,
        events,
        data_keys,
        private_keys,
        now,
    )
    verification = AddressVerification(database, now, by_mail=config.mails_links)
    users = Users(
        database,
        passwords,
        hostnames,
        audit,
        events,
        verification,
        now,
        strong_passwords=config.asks_credentials,
    )
    candidates = Candidates(database)
    served_keys = ServedKeys(database, data_keys, private_keys, audit, now)
    terminators = Terminators(database, candidates, served_keys, now)
    changes = Changes(database.listen)
    feed = Feed(
        database,
        candidates,
        served_keys,
        changes,
        metrics,
        now,
        waiting=config.most_connections // 2,
    )
    outbound = Outbound(
        https_only=config.asks_credentials,
        allowed=config.webhook_allowed,
        own=config.own_addresses,
        roots_pem=config.roots_pem,
    )
    webhook_secrets = WebhookSecrets(database, master_keys, now)
    proofs = proofs_of(config, database, hostnames, audit, now)
    challenges = Challenges(
        database,
        proofs.checks,
        proofs.proving,
        proofs.limits,
        rules,
        audit,
        now,
        # So many requests at once wait for DNS; others are refused.
        at_once=config.threads // 2,
    )
    webhooks = Webhooks(database, outbound, webhook_secrets, audit, events, now)
    routes = _routes(
        users,
        EmailVerifications(database, verification, audit, events, now),
        Tokens(database, audit, now),
        Certificates(*parts),
        Versions(*parts),
        Listing(database, pages, revisions),
        Expiring(database, revisions, audit, now),
        AuditPages(database),
        Resolving(candidates, now),
        terminators,
        feed,
        ServingStates(database, audit, events, now),
        TerminatorPages(database, feed),
        EventPages(database, now),
        webhooks,
        Redelivery(database, webhooks, audit, now),
        challenges,
        HostnameOwners(database, hostnames, audit, now),
        health := Health(database, pages),
        Quotas(database, audit, now),
    )
    own_routes: list[openapi.Route] = [
        ("/", RootResource()),
        ("/metrics", MetricsResource(metrics)),
        ("/openapi.json", OpenApiResource(lambda: openapi.document(routes))),
        ("/docs", docs := DocsResource()),
        ("/docs/{name}", docs),
    ]
    if config.token_in_path and config.asks_credentials:
        own_routes += [
            ("/terminators/{token}/caddy", CaddyResource(terminators)),
            ("/terminators/{token}/caddy/ask", CaddyAskResource(terminators)),
        ]
    all_routes = [*routes, *own_routes]
    names = {template: openapi.plain_template(template) for template, _ in all_routes}
    attempts = Attempts(Counters(pages.redis), now)
    last_uses = LastUses(database)
    authentication = Authentication(database, users, attempts, last_uses, audit, now)
    app = Application(
        middleware=[
            RequestLog(lines, metrics, names),
            Refused(),
            Peer(config.behind_proxy),
            LimitsOfRefused(config.requests_a_second, workers=config.workers),
            Authenticated(
                authentication,
                registration_is_open=config.registration == "open",
                terminator_peers=config.terminator_peers,
            )
            if config.asks_credentials
            else OpenMode(config.trusted_peers),
            Tenants(),
            Limits(config.requests_a_second, workers=config.workers),
            JsonOnly(),
            QueryParameters(),
            Idempotency(Repeats(database, now)),
        ]
    )
    app.add_error_handler(Replayed, replies.replay)
    app.add_routes(all_routes)
    app.admin = Application(
        middleware=[RequestLog(lines, metrics, names), JsonOnly(), QueryParameters()]
    )
    app.admin.add_routes([*(route for route in routes if route[0] in _HEALTH), *own_routes])

    def close() -> None:
        changes.close()
        children.close()
        passwords.close()
        last_uses.close()
        webhook_secrets.close()
        data_keys.close()
        master_keys.close()
        pages.close()
        database.close()
        lines.close()

    def stop_waiting() -> None:
        health.start_draining()
        changes.close()

    app.close = close
    app.on_cut = metrics.connection_cut
    app.stop_waiting = stop_waiting
    return app


def enter_mode(config: Config) -> None:
    """Has the database remember that it is served with credentials, where it is. The schema must be
    at head. Raises ModeError where it was, and now would be without."""
    modes.enter_mode(config.database_url, asks_credentials=config.asks_credentials, now=_now())


def _routes(
    users: Users,
    email_verifications: EmailVerifications,
    tokens: Tokens,
    certificates: Certificates,
    versions: Versions,
    listing: Listing,
    expiring: Expiring,
    audit: AuditPages,
    resolving: Resolving,
    terminators: Terminators,
    feed: Feed,
    serving: ServingStates,
    terminator_pages: TerminatorPages,
    events: EventPages,
    webhooks: Webhooks,
    redelivery: Redelivery,
    challenges: Challenges,
    owners: HostnameOwners,
    health: Health,
    quotas: Quotas,
) -> list[openapi.Route]:
    user = "/users/{user_id:id}"
    certificate = user + "/certificates/{certificate_id:id}"
    challenge = user + "/hostnames/{hostname:hostname}/challenge"
    return [
        ("/users", UsersResource(users)),
        (user, UserResource(users)),
        (user + "/email-verification", UserEmailVerificationResource(email_verifications)),
        (
            "/email-verifications/{verification_token}",
            EmailVerificationLinkResource(email_verifications),
        ),
        (user + "/expiring", ExpiringResource(expiring)),
        (user + "/expiry", ExpirySettingsResource(expiring)),
        (user + "/quotas", QuotasResource(quotas)),
        (user + "/audit", UserAuditResource(audit)),
        ("/audit", AuditResource(audit)),
        (user + "/events", EventsResource(events)),
        *webhook_routes(user, "User", webhooks, redelivery, of_users("webhooks")),
        *webhook_routes("", "", webhooks, redelivery, OPERATORS),
        (user + "/certificates", CertificatesResource(certificates, listing)),
        (user + "/certificates/check", CheckResource(certificates)),
        (certificate, CertificateResource(certificates, versions)),
        (certificate + "/active", ActiveResource(certificates)),
        (certificate + "/versions", VersionsResource(versions)),
        (certificate + "/rollback", RollbackResource(versions)),
        (certificate + "/pending", PendingResource(versions)),
        (challenge, ChallengeResource(challenges)),
        (challenge + "/verify", VerifyResource(challenges)),
        (user + "/hostnames", UserHostnamesResource(owners)),
        (user + "/hostnames/{hostname:hostname}", UserHostnameResource(owners)),
        ("/hostnames", HostnamesResource(owners)),
        ("/hostnames/{hostname:hostname}", HostnameResource(owners)),
        ("/tokens", TokensResource(tokens)),
        ("/tokens/{token_id:id}", TokenResource(tokens)),
        ("/resolve", ResolveResource(resolving)),
        ("/terminators", TerminatorsResource(terminator_pages)),
        ("/terminators/reports/{terminator_id:id}", TerminatorResource(serving)),
        ("/terminators/reports", ReportsResource(serving)),
        ("/terminators/caddy", CaddyResource(terminators)),
        ("/terminators/caddy/ask", CaddyAskResource(terminators)),
        ("/terminators/feed", FeedResource(feed)),
        ("/terminators/traefik", TraefikResource(terminators)),
        ("/healthcheck", HealthcheckResource(health)),
        ("/livez", LivezResource()),
        ("/readyz", ReadyzResource(health)),
    ]
