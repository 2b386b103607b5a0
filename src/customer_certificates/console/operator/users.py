"""/console/users and /console/users/new"""

from falcon import Request, Response

from ...services.access.permissions import OPERATORS
from ...services.labels import ExternalId
from ...services.users.quotas import Quotas
from ...services.users.users import Email, NewUser, UserFilter, Users
from .. import forms
from ..page import Page, ServicePage, redirect

_LIMIT = 50


class UsersPage(Page):
    """All users, with a search."""

    allow = OPERATORS

    def __init__(self, users: Users, quotas: Quotas) -> None:
        self._users = users
        self._quotas = quotas

    def on_get(self, req: Request, resp: Response) -> None:
        query = forms.query(req)
        email = query.text("email", Email, "an email address", "ada@example.com")
        external_id = query.text("external_id", ExternalId, "an external id", "customer-4711")
        criteria = UserFilter(email, external_id, query.labels())
        after = query.whole("after", 0, 0)
        query.check()
        page = self._users.page(criteria, after, _LIMIT)
        self.show(
            req,
            resp,
            "operator/users.html",
            users=page.items,
            usage=self._quotas.usage_of(user.id for user in page.items),
            next_after=page.next_after,
        )


class NewUserPage(ServicePage[Users]):
    """The form that registers a user."""

    allow = OPERATORS

    def on_get(self, req: Request, resp: Response) -> None:
        self.show(req, resp, "operator/new_user.html")

    def on_post(self, req: Request, resp: Response) -> None:
        form = req.context.form
        fields = form.filled("name", "email", "external_id")
        if form["password"]:
            # Spaces belong to a password.
            fields["password"] = form["password"]
        new = forms.parse({**fields, "labels": forms.labels(form["labels"])}, NewUser)
        user_id = self._service.register(req.context.principal, new)
        redirect(resp, f"/console/users/{user_id}/certificates?done=registered")
