"""The routes of the API, their resources, and the resources' arguments."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .composition import Services
from .resources import (
    audit,
    certificates,
    challenges,
    events,
    expiry,
    health,
    hostnames,
    resolver,
    terminators,
    versions,
    webhooks,
)
from .resources.fleet import certificates as fleet_certificates
from .resources.fleet import expiry as fleet_expiry
from .resources.fleet import reports
from .resources.users import console_links, email_verification, quotas, tokens, users


class Route(NamedTuple):
    """`parts` returns the arguments of `resource`, a class."""

    template: str
    resource: type
    parts: Callable[[Services], Sequence[Any]]


_USER = "/users/{user_id:id}"
_CERTIFICATE = _USER + "/certificates/{certificate_id:id}"
_HOSTNAME = "/hostnames/{hostname:hostname}"
_CHALLENGE = _USER + _HOSTNAME + "/challenge"
_WEBHOOK = "/webhooks/{webhook_id:id}"
_USER_WEBHOOK = _USER + _WEBHOOK
_REDELIVER = "/deliveries/{event_id:id}/redeliver"

ROUTES = [
    Route("/users", users.UsersResource, lambda of: [of.users]),
    Route(_USER, users.UserResource, lambda of: [of.users]),
    Route(
        _USER + "/email-verification",
        email_verification.UserEmailVerificationResource,
        lambda of: [of.email_verifications],
    ),
    Route(
        "/email-verifications/{verification_token}",
        email_verification.EmailVerificationLinkResource,
        lambda of: [of.email_verifications],
    ),
    Route(
        _USER + "/console-links", console_links.ConsoleLinksResource, lambda of: [of.console_links]
    ),
    Route(_USER + "/expiring", expiry.ExpiringResource, lambda of: [of.expiring]),
    Route(_USER + "/expiry", expiry.ExpirySettingsResource, lambda of: [of.expiring]),
    Route(_USER + "/quotas", quotas.QuotasResource, lambda of: [of.quotas]),
    Route(_USER + "/audit", audit.UserAuditResource, lambda of: [of.audit_pages]),
    Route("/audit", audit.AuditResource, lambda of: [of.audit_pages]),
    Route(_USER + "/events", events.EventsResource, lambda of: [of.event_pages]),
    Route(_USER + "/webhooks", webhooks.UserWebhooksResource, lambda of: [of.webhooks]),
    Route(_USER_WEBHOOK, webhooks.UserWebhookResource, lambda of: [of.webhooks]),
    Route(_USER_WEBHOOK + "/secret", webhooks.UserWebhookSecretResource, lambda of: [of.webhooks]),
    Route(_USER_WEBHOOK + "/test", webhooks.UserWebhookTestResource, lambda of: [of.webhooks]),
    Route(
        _USER_WEBHOOK + "/deliveries", webhooks.UserDeliveriesResource, lambda of: [of.redelivery]
    ),
    Route(_USER_WEBHOOK + _REDELIVER, webhooks.UserRedeliveryResource, lambda of: [of.redelivery]),
    Route(_USER_WEBHOOK + "/replay", webhooks.UserReplayResource, lambda of: [of.redelivery]),
    Route("/webhooks", webhooks.WebhooksResource, lambda of: [of.webhooks]),
    Route(_WEBHOOK, webhooks.WebhookResource, lambda of: [of.webhooks]),
    Route(_WEBHOOK + "/secret", webhooks.WebhookSecretResource, lambda of: [of.webhooks]),
    Route(_WEBHOOK + "/test", webhooks.WebhookTestResource, lambda of: [of.webhooks]),
    Route(_WEBHOOK + "/deliveries", webhooks.DeliveriesResource, lambda of: [of.redelivery]),
    Route(_WEBHOOK + _REDELIVER, webhooks.RedeliveryResource, lambda of: [of.redelivery]),
    Route(_WEBHOOK + "/replay", webhooks.ReplayResource, lambda of: [of.redelivery]),
    Route(
        _USER + "/certificates",
        certificates.CertificatesResource,
        lambda of: [of.certificates, of.listing],
    ),
    Route(_USER + "/certificates/check", certificates.CheckResource, lambda of: [of.certificates]),
    Route(
        _CERTIFICATE, certificates.CertificateResource, lambda of: [of.certificates, of.versions]
    ),
    Route(_CERTIFICATE + "/active", certificates.ActiveResource, lambda of: [of.certificates]),
    Route(_CERTIFICATE + "/versions", versions.VersionsResource, lambda of: [of.versions]),
    Route(_CERTIFICATE + "/rollback", versions.RollbackResource, lambda of: [of.versions]),
    Route(_CERTIFICATE + "/pending", versions.PendingResource, lambda of: [of.versions]),
    Route(_CHALLENGE, challenges.ChallengeResource, lambda of: [of.challenges]),
    Route(_CHALLENGE + "/verify", challenges.VerifyResource, lambda of: [of.challenges]),
    Route(_USER + "/hostnames", hostnames.UserHostnamesResource, lambda of: [of.hostname_owners]),
    Route(_USER + _HOSTNAME, hostnames.UserHostnameResource, lambda of: [of.hostname_owners]),
    Route("/hostnames", hostnames.HostnamesResource, lambda of: [of.hostname_owners]),
    Route(_HOSTNAME, hostnames.HostnameResource, lambda of: [of.hostname_owners]),
    Route("/summary", reports.SummaryResource, lambda of: [of.summary]),
    Route("/incidents", reports.IncidentsResource, lambda of: [of.incidents]),
    Route("/certificates", fleet_certificates.FleetCertificatesResource, lambda of: [of.fleet]),
    Route("/expiring", fleet_expiry.FleetExpiringResource, lambda of: [of.fleet_expiring]),
    Route("/tokens", tokens.TokensResource, lambda of: [of.tokens]),
    Route("/tokens/{token_id:id}", tokens.TokenResource, lambda of: [of.tokens]),
    Route("/resolve", resolver.ResolveResource, lambda of: [of.resolver]),
    Route("/terminators", terminators.TerminatorsResource, lambda of: [of.terminator_pages]),
    Route(
        "/terminators/reports/{terminator_id:id}",
        terminators.TerminatorResource,
        lambda of: [of.terminator_reports],
    ),
    Route("/terminators/reports", terminators.ReportsResource, lambda of: [of.terminator_reports]),
    Route("/terminators/caddy", terminators.CaddyResource, lambda of: [of.terminators]),
    Route("/terminators/caddy/ask", terminators.CaddyAskResource, lambda of: [of.terminators]),
    Route("/terminators/feed", terminators.FeedResource, lambda of: [of.feed]),
    Route("/terminators/traefik", terminators.TraefikResource, lambda of: [of.terminators]),
    Route("/healthcheck", health.HealthcheckResource, lambda of: [of.health]),
    Route("/livez", health.LivezResource, lambda _: []),
    Route("/readyz", health.ReadyzResource, lambda of: [of.health]),
]
