"""/console/users/{user_id}/certificates/{certificate_id}/replace and /versions"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from falcon import Request, Response

from ....services.access.permissions import users
from ....services.certificates.requests import Replacement, Rollback
from ....services.certificates.service import Certificates
from ....services.certificates.versions.service import Versions
from ....services.certificates.views import CertificateView
from ... import forms
from ...page import Page, decoded, redirect
from . import form_fields
from .detail import shown


class ReplacementPage(Page):
    """The form that replaces a certificate, now or later."""

    allow = users("certificates:write")

    def __init__(
        self, certificates: Certificates, versions: Versions, now: Callable[[], datetime]
    ) -> None:
        self._certificates = certificates
        self._versions = versions
        self._now = now

    def on_get(self, req: Request, resp: Response, user_id: int, certificate_id: int) -> None:
        self.show(
            req,
            resp,
            "customer/certificate_replace.html",
            user_id=user_id,
            certificate=shown(self._certificates, user_id, certificate_id),
            now=self._now(),
        )

    def on_post(self, req: Request, resp: Response, user_id: int, certificate_id: int) -> None:
        form = req.context.form
        fields = {
            **form_fields.material(form),
            **form_fields.activation(form),
            "allow_lost_hostnames": bool(form["allow_lost_hostnames"]),
            "grant_hostnames": bool(form["grant_hostnames"]),
        }
        replacement = forms.parse(fields, Replacement)
        self._versions.replace(req.context.principal, user_id, certificate_id, replacement, None)
        redirect(resp, f"/console/users/{user_id}/certificates/{certificate_id}?done=replaced")


class _Compared(NamedTuple):
    """A version, and its differences from the one before it (None: it is not kept)."""

    version: CertificateView
    state: str
    gained: list[str]
    lost: list[str]
    has_same_key: bool | None
    has_same_issuer: bool | None


class VersionsPage(Page):
    """The versions of a certificate side by side, and the buttons that roll back."""

    allow = users("certificates:read", "certificates:write")

    def __init__(self, versions: Versions, now: Callable[[], datetime]) -> None:
        self._versions = versions
        self._now = now

    def on_get(self, req: Request, resp: Response, user_id: int, certificate_id: int) -> None:
        versions = decoded(self._versions.all(user_id, certificate_id), list[CertificateView])
        self.show(
            req,
            resp,
            "customer/certificate_versions.html",
            user_id=user_id,
            certificate_id=certificate_id,
            versions=_compared(versions),
            now=self._now(),
        )

    def on_post(self, req: Request, resp: Response, user_id: int, certificate_id: int) -> None:
        form = req.context.form
        fields = {
            "version": forms.number(form["version"]),
            "allow_lost_hostnames": bool(form["allow_lost_hostnames"]),
        }
        rollback = forms.parse(fields, Rollback)
        self._versions.roll_back(req.context.principal, user_id, certificate_id, rollback, None)
        redirect(resp, f"{req.path}?done=rolled_back")


def _compared(versions: Sequence[CertificateView]) -> list[_Compared]:
    """Compares each version with the one before it. They are ordered newest first."""
    # Only the current version names the one that is pending.
    current = next((one for one in versions if one.pending), versions[0]).version
    earlier: Sequence[CertificateView | None] = [*versions[1:], None]
    return [_compare(*pair, current) for pair in zip(versions, earlier, strict=True)]


def _compare(version: CertificateView, before: CertificateView | None, current: int) -> _Compared:
    state = "earlier" if version.version < current else "current"
    names, names_before = version.hostnames, before.hostnames if before else version.hostnames
    return _Compared(
        version,
        "pending" if version.version > current else state,
        gained=_without(names, names_before),
        lost=_without(names_before, names),
        has_same_key=version.spki_sha256 == before.spki_sha256 if before else None,
        has_same_issuer=version.issuer == before.issuer if before else None,
    )


def _without(names: list[str], others: list[str]) -> list[str]:
    """Returns the names that are not in `others`, in their order."""
    excluded = set(others)
    return [name for name in names if name not in excluded]
