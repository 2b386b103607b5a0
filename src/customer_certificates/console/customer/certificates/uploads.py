"""/console/users/{user_id}/certificates/new and /check"""

from collections.abc import Callable
from datetime import datetime

from falcon import Request, Response

from ....services.access.permissions import users
from ....services.certificates.requests import (
    CertificateCheck,
    CertificateMaterial,
    CertificateUpload,
)
from ....services.certificates.service import Certificates
from ....services.certificates.validation import Validation
from ....web.request_parsing import Query
from ... import forms
from ...page import Page, redirect
from . import form_fields


class UploadPage(Page):
    """The form that stores a certificate."""

    allow = users("certificates:write")

    def __init__(self, certificates: Certificates, now: Callable[[], datetime]) -> None:
        self._certificates = certificates
        self._now = now

    def on_get(self, req: Request, resp: Response, user_id: int) -> None:
        self.show(req, resp, "customer/certificate_upload.html", user_id=user_id, now=self._now())

    def on_post(self, req: Request, resp: Response, user_id: int) -> None:
        form = req.context.form
        fields = {
            **form_fields.material(form),
            **form_fields.activation(form),
            "active": form["activation"] == "now",
            "grant_hostnames": bool(form["grant_hostnames"]),
            "labels": forms.labels(form["labels"]),
        }
        upload = forms.parse(fields, CertificateUpload)
        view = self._certificates.upload(req.context.principal, user_id, upload, None)
        redirect(resp, f"/console/users/{user_id}/certificates/{view.id}?done=uploaded")


class CheckFragment(Page):
    """The findings of a form that is not sent yet. Nothing is stored."""

    allow = users("certificates:read")

    def __init__(
        self, certificates: Certificates, validation: Validation, now: Callable[[], datetime]
    ) -> None:
        self._certificates = certificates
        self._validation = validation
        self._now = now

    def on_post(self, req: Request, resp: Response, user_id: int) -> None:
        query = Query(req)
        replaces = query.whole("replaces", 0, 1) or None
        query.check()
        fields = form_fields.material(req.context.form)
        faults = CertificateMaterial.faults(fields)
        missing = [finding.field for finding in faults if finding.code == "required"]
        view = None
        if not missing:
            grants = bool(req.context.form["grant_hostnames"])
            check = forms.parse({**fields, "grant_hostnames": grants}, CertificateCheck)
            principal = req.context.principal
            view = self._certificates.check(principal, user_id, check, replaces)
        self.show(
            req,
            resp,
            "fragments/certificate_check.html",
            user_id=user_id,
            check=view,
            chain=self._validation.chain_of(view.chain_pem) if view else [],
            missing=missing,
            replaces=replaces,
            now=self._now(),
        )
