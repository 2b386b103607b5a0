"""/console/users/{user_id}"""

from falcon import Request, Response

from ...services.access.permissions import OPERATORS
from ...services.etags import tag_of_view
from ...services.quotas.limits import QUOTAS
from ...services.users.quotas import QuotaLimits, Quotas, tag_of_limits
from ...services.users.users import UserChanges, Users
from .. import forms
from ..page import Page, redirect


class UserPage(Page):
    """One user: its data, its quotas, and its deletion."""

    allow = OPERATORS

    def __init__(self, users: Users, quotas: Quotas) -> None:
        self._users = users
        self._quotas = quotas

    def on_get(self, req: Request, resp: Response, user_id: int) -> None:
        user, quotas = self._users.get(user_id), self._quotas.of(user_id)
        self.show(
            req,
            resp,
            "operator/user.html",
            user_id=user_id,
            user=user,
            quotas=quotas,
            tags={"account": tag_of_view(user), "quotas": tag_of_limits(quotas)},
            names=QUOTAS,
        )

    def on_post(self, req: Request, resp: Response, user_id: int) -> None:
        form, principal = req.context.form, req.context.principal
        action = forms.action_of(form, "delete", "quotas", "change")
        if action == "delete":
            self._users.delete(principal, user_id, None)
            redirect(resp, "/console/users?done=deleted")
            return
        if action == "quotas":
            limits = {str(name): forms.number(form[name]) for name in QUOTAS}
            self._quotas.set(
                principal, user_id, forms.parse(limits, QuotaLimits), forms.expected(form, "quotas")
            )
        else:
            fields = {
                "name": form["name"].strip(),
                "email": form["email"].strip(),
                "external_id": form["external_id"].strip() or None,
                "labels": forms.labels(form["labels"]),
            }
            if form["password"]:
                fields["password"] = form["password"]
            self._users.change(
                principal,
                user_id,
                forms.parse(fields, UserChanges),
                forms.expected(form, "account"),
            )
        redirect(resp, f"{req.path}?done=changed")
