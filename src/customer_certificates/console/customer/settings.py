"""/console/users/{user_id}/settings"""

from falcon import Request, Response

from ...errors import Finding, Forbidden, Invalid
from ...services.access.permissions import WHOLE_USER
from ...services.etags import tag_of_view
from ...services.expiry.upcoming import Expiring, ExpirySettings
from ...services.quotas.limits import QUOTAS
from ...services.users.email_verifications import EmailVerifications
from ...services.users.quotas import Quotas
from ...services.users.users import UserChanges, Users
from .. import forms
from ..access import Viewer
from ..page import Page, redirect


class SettingsPage(Page):
    """A user's account, expiry notices and quotas."""

    allow = WHOLE_USER

    def __init__(
        self, users: Users, verifications: EmailVerifications, expiring: Expiring, quotas: Quotas
    ) -> None:
        self._users = users
        self._verifications = verifications
        self._expiring = expiring
        self._quotas = quotas

    def on_get(self, req: Request, resp: Response, user_id: int) -> None:
        user, expiry = self._users.get(user_id), self._expiring.settings(user_id)
        self.show(
            req,
            resp,
            "customer/settings.html",
            user_id=user_id,
            user=user,
            thresholds=expiry.thresholds,
            tags={"account": tag_of_view(user), "expiry": tag_of_view(expiry)},
            quotas=self._quotas.of(user_id),
            names=QUOTAS,
        )

    def on_post(self, req: Request, resp: Response, user_id: int) -> None:
        form, principal = req.context.form, req.context.principal
        done = "changed"
        match forms.action_of(form, "verify", "expiry", "password", "account"):
            case "verify":
                self._verifications.send(principal, user_id)
                done = "verification_queued"
            case "expiry":
                settings = forms.parse({"thresholds": _thresholds(form)}, ExpirySettings)
                self._expiring.set(principal, user_id, settings, forms.expected(form, "expiry"))
            case "password":
                _require_password(req.context.viewer)
                changes = forms.parse(_new_password(form), UserChanges)
                self._users.change(principal, user_id, changes, None)
                done = "password_changed"
            case _:
                _require_password(req.context.viewer)
                account = {"name": form["name"].strip(), "email": form["email"].strip()}
                changes = forms.parse(account, UserChanges)
                self._users.change(principal, user_id, changes, forms.expected(form, "account"))
        redirect(resp, f"/console/users/{user_id}/settings?done={done}")


def _require_password(viewer: Viewer) -> None:
    """Raises Forbidden for a session from a link, whose changes must not outlive the portal's."""
    if not (viewer.has_password or viewer.is_operator):
        raise Forbidden("This session began with a link. Sign in with your password to change it.")


def _thresholds(form: forms.Form) -> list[str] | None:
    """Returns the thresholds in the form; None: the default."""
    if form["when"] != "own":
        return None
    return form["thresholds"].replace(",", " ").split()


def _new_password(form: forms.Form) -> dict[str, object]:
    """Returns the change of the password. Raises Invalid if it was typed in two ways."""
    if form["password"] != form["password_again"]:
        detail, hint = "The two passwords are different.", "Type the new password twice."
        finding = Finding("invalid_value", "password_again", detail, hint)
        raise Invalid("1 field is invalid.", errors=[finding])
    return {"password": form["password"], "keep_tokens": form["keep_tokens"] == "yes"}
