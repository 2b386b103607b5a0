"""The routes of the API, their resources, and the resources' arguments."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .composition import Services
from .resources.audit import AuditResource, UserAuditResource
from .resources.certificates import (
    ActiveResource,
    CertificateResource,
    CertificatesResource,
    CheckResource,
)
from .resources.challenges import ChallengeResource, VerifyResource
from .resources.events import EventsResource
from .resources.expiry import ExpiringResource, ExpirySettingsResource
from .resources.health import HealthcheckResource, LivezResource, ReadyzResource
from .resources.hostnames import (
    HostnameResource,
    HostnamesResource,
    UserHostnameResource,
    UserHostnamesResource,
)
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
from .resources.webhooks import (
    DeliveriesResource,
    RedeliveryResource,
    ReplayResource,
    UserDeliveriesResource,
    UserRedeliveryResource,
    UserReplayResource,
    UserWebhookResource,
    UserWebhookSecretResource,
    UserWebhooksResource,
    UserWebhookTestResource,
    WebhookResource,
    WebhookSecretResource,
    WebhooksResource,
    WebhookTestResource,
)


class Route(NamedTuple):
    """`parts` returns the arguments of `resource`, a class."""

    template: str
    resource: type
    parts: Callable[[Services], Sequence[Any]]


_USER = "/users/{user_id:id}"
_CERTIFICATE = _USER + "/certificates/{certificate_id:id}"
_CHALLENGE = _USER + "/hostnames/{hostname:hostname}/challenge"
_WEBHOOK = "/webhooks/{webhook_id:id}"

ROUTES = [
    Route("/users", UsersResource, lambda of: [of.users]),
    Route(_USER, UserResource, lambda of: [of.users]),
    Route(
        _USER + "/email-verification",
        UserEmailVerificationResource,
        lambda of: [of.email_verifications],
    ),
    Route(
        "/email-verifications/{verification_token}",
        EmailVerificationLinkResource,
        lambda of: [of.email_verifications],
    ),
    Route(_USER + "/expiring", ExpiringResource, lambda of: [of.expiring]),
    Route(_USER + "/expiry", ExpirySettingsResource, lambda of: [of.expiring]),
    Route(_USER + "/quotas", QuotasResource, lambda of: [of.quotas]),
    Route(_USER + "/audit", UserAuditResource, lambda of: [of.audit_pages]),
    Route("/audit", AuditResource, lambda of: [of.audit_pages]),
    Route(_USER + "/events", EventsResource, lambda of: [of.event_pages]),
    Route(_USER + "/webhooks", UserWebhooksResource, lambda of: [of.webhooks]),
    Route(_USER + _WEBHOOK, UserWebhookResource, lambda of: [of.webhooks]),
    Route(_USER + _WEBHOOK + "/secret", UserWebhookSecretResource, lambda of: [of.webhooks]),
    Route(_USER + _WEBHOOK + "/test", UserWebhookTestResource, lambda of: [of.webhooks]),
    Route(_USER + _WEBHOOK + "/deliveries", UserDeliveriesResource, lambda of: [of.redelivery]),
    Route(
        _USER + _WEBHOOK + "/deliveries/{event_id:id}/redeliver",
        UserRedeliveryResource,
        lambda of: [of.redelivery],
    ),
    Route(_USER + _WEBHOOK + "/replay", UserReplayResource, lambda of: [of.redelivery]),
    Route("/webhooks", WebhooksResource, lambda of: [of.webhooks]),
    Route(_WEBHOOK, WebhookResource, lambda of: [of.webhooks]),
    Route(_WEBHOOK + "/secret", WebhookSecretResource, lambda of: [of.webhooks]),
    Route(_WEBHOOK + "/test", WebhookTestResource, lambda of: [of.webhooks]),
    Route(_WEBHOOK + "/deliveries", DeliveriesResource, lambda of: [of.redelivery]),
    Route(
        _WEBHOOK + "/deliveries/{event_id:id}/redeliver",
        RedeliveryResource,
        lambda of: [of.redelivery],
    ),
    Route(_WEBHOOK + "/replay", ReplayResource, lambda of: [of.redelivery]),
    Route(_USER + "/certificates", CertificatesResource, lambda of: [of.certificates, of.listing]),
    Route(_USER + "/certificates/check", CheckResource, lambda of: [of.certificates]),
    Route(_CERTIFICATE, CertificateResource, lambda of: [of.certificates, of.versions]),
    Route(_CERTIFICATE + "/active", ActiveResource, lambda of: [of.certificates]),
    Route(_CERTIFICATE + "/versions", VersionsResource, lambda of: [of.versions]),
    Route(_CERTIFICATE + "/rollback", RollbackResource, lambda of: [of.versions]),
    Route(_CERTIFICATE + "/pending", PendingResource, lambda of: [of.versions]),
    Route(_CHALLENGE, ChallengeResource, lambda of: [of.challenges]),
    Route(_CHALLENGE + "/verify", VerifyResource, lambda of: [of.challenges]),
    Route(_USER + "/hostnames", UserHostnamesResource, lambda of: [of.hostname_owners]),
    Route(
        _USER + "/hostnames/{hostname:hostname}",
        UserHostnameResource,
        lambda of: [of.hostname_owners],
    ),
    Route("/hostnames", HostnamesResource, lambda of: [of.hostname_owners]),
    Route("/hostnames/{hostname:hostname}", HostnameResource, lambda of: [of.hostname_owners]),
    Route("/tokens", TokensResource, lambda of: [of.tokens]),
    Route("/tokens/{token_id:id}", TokenResource, lambda of: [of.tokens]),
    Route("/resolve", ResolveResource, lambda of: [of.resolver]),
    Route("/terminators", TerminatorsResource, lambda of: [of.terminator_pages]),
    Route(
        "/terminators/reports/{terminator_id:id}",
        TerminatorResource,
        lambda of: [of.terminator_reports],
    ),
    Route("/terminators/reports", ReportsResource, lambda of: [of.terminator_reports]),
    Route("/terminators/caddy", CaddyResource, lambda of: [of.terminators]),
    Route("/terminators/caddy/ask", CaddyAskResource, lambda of: [of.terminators]),
    Route("/terminators/feed", FeedResource, lambda of: [of.feed]),
    Route("/terminators/traefik", TraefikResource, lambda of: [of.terminators]),
    Route("/healthcheck", HealthcheckResource, lambda of: [of.health]),
    Route("/livez", LivezResource, lambda _: []),
    Route("/readyz", ReadyzResource, lambda of: [of.health]),
]
