"""The routes of the console, their pages, and the pages' arguments."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .composition import Services
from .console import assets, home, sign_in
from .console.customer.certificates import detail, listing, uploads, versions
from .console.operator import overview
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
    ConsoleRoute("/console/overview", overview.OverviewPage, lambda _: []),
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
]
