"""/console/users/{user_id}/certificates/{certificate_id}, /delete and /chain.pem"""

from collections.abc import Callable
from datetime import datetime

import msgspec
from falcon import Request, Response

from ....errors import NotFound
from ....services.access.permissions import users
from ....services.certificates.requests import Activation, CertificateChanges
from ....services.certificates.service import Certificates
from ....services.certificates.validation import Validation
from ....services.certificates.versions.service import Versions
from ....services.certificates.views import CertificateDetail, detailed
from ....services.terminators.serving_counts import ServingCounts
from ... import forms
from ...page import Page, ServicePage, redirect


class CertificatePage(Page):
    """One certificate: its state, its facts, and the buttons that change it."""

    allow = users("certificates:read", "certificates:write")

    def __init__(
        self,
        certificates: Certificates,
        versions: Versions,
        validation: Validation,
        serving_counts: ServingCounts,
        now: Callable[[], datetime],
    ) -> None:
        self._certificates = certificates
        self._versions = versions
        self._validation = validation
        self._serving_counts = serving_counts
        self._now = now

    def on_get(self, req: Request, resp: Response, user_id: int, certificate_id: int) -> None:
        tag, certificate = _tagged(self._certificates, user_id, certificate_id)
        self.show(
            req,
            resp,
            "customer/certificate.html",
            tags={"labels": tag},
            user_id=user_id,
            certificate=certificate,
            chain=self._validation.chain_of(certificate.chain_pem),
            count=self._serving_counts.of(user_id, [certificate_id])[certificate_id],
            lost=_lost(self._certificates, user_id, certificate),
            now=self._now(),
        )

    def on_post(self, req: Request, resp: Response, user_id: int, certificate_id: int) -> None:
        form, principal = req.context.form, req.context.principal
        action = forms.action_of(form, "labels", "cancel", "activate", "deactivate")
        if action == "labels":
            changes = forms.parse({"labels": forms.labels(form["labels"])}, CertificateChanges)
            expected = forms.expected(form, "labels")
            self._certificates.change(principal, user_id, certificate_id, changes, expected)
        elif action == "cancel":
            self._versions.cancel(principal, user_id, certificate_id, None)
        else:
            fields = {
                "active": action == "activate",
                "allow_lost_hostnames": bool(form["allow_lost_hostnames"]),
                "grant_hostnames": bool(form["grant_hostnames"]),
            }
            activation = forms.parse(fields, Activation)
            self._certificates.set_active(principal, user_id, certificate_id, activation, None)
        redirect(resp, f"{req.path}?done=changed")


class DeletionPage(ServicePage[Certificates]):
    """Asks for a confirmation, and deletes a certificate."""

    allow = users("certificates:write")

    def on_get(self, req: Request, resp: Response, user_id: int, certificate_id: int) -> None:
        certificate = shown(self._service, user_id, certificate_id)
        self.show(
            req,
            resp,
            "customer/certificate_delete.html",
            user_id=user_id,
            certificate=certificate,
            lost=_lost(self._service, user_id, certificate),
        )

    def on_post(self, req: Request, resp: Response, user_id: int, certificate_id: int) -> None:
        allowed = bool(req.context.form["allow_lost_hostnames"])
        self._service.delete(
            req.context.principal, user_id, certificate_id, None, allow_lost_hostnames=allowed
        )
        redirect(resp, f"/console/users/{user_id}/certificates?done=deleted")


class ChainFile(ServicePage[Certificates]):
    """The certificate and its intermediates, as a file."""

    allow = users("certificates:read")

    def on_get(self, _req: Request, resp: Response, user_id: int, certificate_id: int) -> None:
        certificate = shown(self._service, user_id, certificate_id)
        if certificate.chain_pem is None:
            raise NotFound(f"Certificate {certificate_id} could not be read, so it has no chain.")
        resp.content_type = "application/pem-certificate-chain"
        resp.downloadable_as = f"certificate-{certificate_id}-v{certificate.version}.pem"
        resp.text = certificate.chain_pem


def shown(certificates: Certificates, user_id: int, certificate_id: int) -> CertificateDetail:
    """Returns a certificate as the API shows it. Raises NotFound."""
    return _tagged(certificates, user_id, certificate_id)[1]


def _tagged(
    certificates: Certificates, user_id: int, certificate_id: int
) -> tuple[str, CertificateDetail]:
    """Returns the entity tag and the certificate. Raises NotFound."""
    tag, body = detailed(*certificates.get(user_id, certificate_id))
    return tag, msgspec.json.decode(body, type=CertificateDetail)


def _lost(certificates: Certificates, user_id: int, certificate: CertificateDetail) -> list[str]:
    """Returns the hostnames that would be left without a certificate."""
    # Most certificates need no further statement.
    is_served = certificate.active and certificate.serving
    return certificates.lost_without(user_id, certificate.id) if is_served else []
