"""The routes of the console, their pages, and the pages' arguments."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .composition import Services
from .console import assets, home, links, sign_in
from .console.customer import certificates
from .console.operator import overview
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
    ConsoleRoute("/console/links/{token}", links.LinkPage, lambda of: [of.console_links]),
    ConsoleRoute("/console/overview", overview.OverviewPage, lambda _: []),
    ConsoleRoute(
        _USER + "/certificates", certificates.CertificatesPage, lambda of: [of.listing, of.now]
    ),
]
