"""The routes of the console, their pages, and the pages' arguments."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .composition import Services
from .console import assets, home, links, sign_in
from .console.customer import activity, hostnames, settings, tokens, webhooks
from .console.customer.certificates import detail, listing, uploads, versions
from .console.operator import audit, expiring, incidents, overview, terminators, user, users
from .console.operator import certificates as all_certificates
from .console.operator import hostnames as all_hostnames
from .console.operator import webhooks as all_webhooks
from .console.page import Page


class ConsoleRoute(NamedTuple):
    """`parts` returns the arguments of `page`, a class."""

    template: str
    page: type[Page]
    parts: Callable[[Services], Sequence[Any]]


_USER = "/console/users/{user_id:id}"
_CERTIFICATE = _USER + "/certificates/{certificate_id:id}"

CONSOLE_ROUTES = [
    ConsoleRoute("/console", home.HomePage, lambda _: []),
    ConsoleRoute("/console/static/{digest}/{name}", assets.AssetPage, lambda _: []),
    ConsoleRoute("/console/sign-in", sign_in.SignInPage, lambda of: [of.console_sessions]),
    ConsoleRoute("/console/sign-out", sign_in.SignOutPage, lambda of: [of.console_sessions]),
    ConsoleRoute("/console/links/{token}", links.LinkPage, lambda of: [of.console_links]),
    ConsoleRoute(
        "/console/overview",
        overview.OverviewPage,
        lambda of: [of.summary, of.terminator_states, of.backlogs, of.users],
    ),
    ConsoleRoute(
        "/console/certificates", all_certificates.SearchPage, lambda of: [of.fleet, of.now]
    ),
    ConsoleRoute(
        "/console/expiring", expiring.ExpiringPage, lambda of: [of.fleet_expiring, of.now]
    ),
    ConsoleRoute("/console/incidents", incidents.IncidentsPage, lambda of: [of.incidents]),
    ConsoleRoute(
        "/console/incidents/numbers", incidents.IncidentNumbersPage, lambda of: [of.incidents]
    ),
    ConsoleRoute("/console/incidents/file", incidents.IncidentFilePage, lambda of: [of.incidents]),
    ConsoleRoute("/console/users", users.UsersPage, lambda of: [of.users, of.quotas]),
    ConsoleRoute("/console/users/new", users.NewUserPage, lambda of: [of.users]),
    ConsoleRoute(_USER, user.UserPage, lambda of: [of.users, of.quotas]),
    ConsoleRoute(
        "/console/terminators",
        terminators.TerminatorsPage,
        lambda of: [of.terminator_pages, of.terminator_states, of.now],
    ),
    ConsoleRoute(
        "/console/terminators/{terminator_id:id}/delete",
        terminators.DeleteTerminatorPage,
        lambda of: [of.terminator_reports],
    ),
    ConsoleRoute(
        "/console/hostnames",
        all_hostnames.HostnamesPage,
        lambda of: [of.hostname_owners, of.contested_hostnames],
    ),
    ConsoleRoute(
        "/console/hostnames/{hostname:hostname}",
        all_hostnames.HostnamePage,
        lambda of: [of.hostname_owners],
    ),
    ConsoleRoute(
        "/console/webhooks", all_webhooks.AllWebhooksPage, lambda of: [of.webhooks, of.backlogs]
    ),
    ConsoleRoute(
        "/console/webhooks/{webhook_id:id}",
        all_webhooks.OperatorWebhookPage,
        lambda of: [of.webhooks, of.redelivery],
    ),
    ConsoleRoute("/console/audit", audit.AuditPage, lambda of: [of.audit_pages]),
    ConsoleRoute(
        _USER + "/certificates",
        listing.CertificatesPage,
        lambda of: [of.listing, of.serving_counts, of.now],
    ),
    ConsoleRoute(
        _USER + "/certificates/new", uploads.UploadPage, lambda of: [of.certificates, of.now]
    ),
    ConsoleRoute(
        _USER + "/certificates/check",
        uploads.CheckFragment,
        lambda of: [of.certificates, of.validation, of.now],
    ),
    ConsoleRoute(
        _CERTIFICATE,
        detail.CertificatePage,
        lambda of: [of.certificates, of.versions, of.validation, of.serving_counts, of.now],
    ),
    ConsoleRoute(_CERTIFICATE + "/delete", detail.DeletionPage, lambda of: [of.certificates]),
    ConsoleRoute(_CERTIFICATE + "/chain.pem", detail.ChainFile, lambda of: [of.certificates]),
    ConsoleRoute(
        _CERTIFICATE + "/replace",
        versions.ReplacementPage,
        lambda of: [of.certificates, of.versions, of.now],
    ),
    ConsoleRoute(
        _CERTIFICATE + "/versions", versions.VersionsPage, lambda of: [of.versions, of.now]
    ),
    ConsoleRoute(
        _USER + "/hostnames",
        hostnames.HostnamesPage,
        lambda of: [of.hostname_states, of.challenges],
    ),
    ConsoleRoute(
        _USER + "/hostnames/{hostname:hostname}",
        hostnames.HostnamePage,
        lambda of: [of.hostname_states, of.challenges, of.hostname_owners, of.now],
    ),
    ConsoleRoute(_USER + "/webhooks", webhooks.WebhooksPage, lambda of: [of.webhooks]),
    ConsoleRoute(
        _USER + "/webhooks/{webhook_id:id}",
        webhooks.WebhookPage,
        lambda of: [of.webhooks, of.redelivery],
    ),
    ConsoleRoute(_USER + "/tokens", tokens.TokensPage, lambda of: [of.tokens, of.now]),
    ConsoleRoute(_USER + "/tokens/new", tokens.NewTokenPage, lambda of: [of.tokens]),
    ConsoleRoute(_USER + "/activity", activity.ActivityPage, lambda of: [of.event_pages]),
    ConsoleRoute(_USER + "/activity/audit", activity.AuditLogPage, lambda of: [of.audit_pages]),
    ConsoleRoute(
        _USER + "/settings",
        settings.SettingsPage,
        lambda of: [of.users, of.email_verifications, of.expiring, of.quotas],
    ),
]
