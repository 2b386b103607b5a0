"""The routes of the console, their pages, and the pages' arguments."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .composition import Services
from .console import assets, home, sign_in
from .console.customer import certificates
from .console.operator import audit, hostnames, overview, terminators, user, users
from .console.page import Page


class ConsoleRoute(NamedTuple):
    """`parts` returns the arguments of `page`, a class."""

    template: str
    page: type[Page]
    parts: Callable[[Services], Sequence[Any]]


_USER = "/console/users/{user_id:id}"

CONSOLE_ROUTES = [
    ConsoleRoute("/console", home.HomePage, lambda _: []),
    ConsoleRoute("/console/static/{digest}/{name}", assets.AssetPage, lambda _: []),
    ConsoleRoute("/console/sign-in", sign_in.SignInPage, lambda of: [of.console_sessions]),
    ConsoleRoute("/console/sign-out", sign_in.SignOutPage, lambda of: [of.console_sessions]),
    ConsoleRoute("/console/overview", overview.OverviewPage, lambda _: []),
    ConsoleRoute("/console/users", users.UsersPage, lambda of: [of.users, of.quotas]),
    ConsoleRoute("/console/users/new", users.NewUserPage, lambda of: [of.users]),
    ConsoleRoute(_USER, user.UserPage, lambda of: [of.users, of.quotas]),
    ConsoleRoute(
        "/console/terminators",
        terminators.TerminatorsPage,
        lambda of: [of.terminator_pages, of.now],
    ),
    ConsoleRoute(
        "/console/terminators/{terminator_id:id}/delete",
        terminators.DeleteTerminatorPage,
        lambda of: [of.terminator_reports],
    ),
    ConsoleRoute(
        "/console/hostnames",
        hostnames.HostnamesPage,
        lambda of: [of.hostname_owners, of.contested_hostnames],
    ),
    ConsoleRoute(
        "/console/hostnames/{hostname:hostname}",
        hostnames.HostnamePage,
        lambda of: [of.hostname_owners],
    ),
    ConsoleRoute("/console/audit", audit.AuditPage, lambda of: [of.audit_pages]),
    ConsoleRoute(
        _USER + "/certificates", certificates.CertificatesPage, lambda of: [of.listing, of.now]
    ),
]
