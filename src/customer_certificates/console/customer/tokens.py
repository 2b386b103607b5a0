"""/console/users/{user_id}/tokens and its subpath"""

from collections.abc import Callable
from datetime import datetime

import msgspec
from falcon import Request, Response

from ...field_docs import Id
from ...services.access.permissions import PASSWORD, SCOPES, users
from ...services.access.tokens import NewToken, Tokens, TokenView
from ...web.request_parsing import Query
from .. import forms
from ..page import Page, ServicePage, redirect

# The default quota, and the tokens that are kept after they are revoked.
_LIMIT = 200
_SCOPE_WORDS = {
    "certificates:read": "Read certificates and hostnames",
    "certificates:write": "Upload and change certificates and hostnames",
    "webhooks": "Manage webhooks",
    "audit:read": "Read the audit log",
}


class _Token(msgspec.Struct):
    """The token that a form is about."""

    id: Id


class TokensPage(Page):
    """The tokens of a user."""

    allow = users()

    def __init__(self, tokens: Tokens, now: Callable[[], datetime]) -> None:
        self._tokens = tokens
        self._now = now

    def on_get(self, req: Request, resp: Response, user_id: int) -> None:
        query = Query(req)
        after = query.whole("after", 0, 0)
        query.check()
        page = self._tokens.page(req.context.principal, user_id, after, _LIMIT)
        now = self._now()
        tokens: dict[bool, list[TokenView]] = {True: [], False: []}
        for token in page.items:
            tokens[token.revoked_at is None and token.expires_at > now].append(token)
        self.show(
            req,
            resp,
            "customer/tokens.html",
            user_id=user_id,
            now=now,
            valid=tokens[True],
            ended=tokens[False],
            next_after=page.next_after,
            words=_SCOPE_WORDS,
        )

    def on_post(self, req: Request, resp: Response, user_id: int) -> None:
        token = forms.parse({"id": forms.number(req.context.form["token_id"])}, _Token)
        self._tokens.revoke(req.context.principal, token.id)
        redirect(resp, f"/console/users/{user_id}/tokens?done=token_revoked")


class NewTokenPage(ServicePage[Tokens]):
    """The form for a token, which the response to the form shows once."""

    allow = PASSWORD

    def on_get(self, req: Request, resp: Response, user_id: int) -> None:
        self.show(
            req,
            resp,
            "customer/new_token.html",
            user_id=user_id,
            scopes={scope: _SCOPE_WORDS[scope] for scope in SCOPES},
        )

    def on_post(self, req: Request, resp: Response, user_id: int) -> None:
        form = req.context.form
        new = forms.parse(
            {
                "name": form["name"].strip(),
                "scopes": form.every("scopes"),
                "expires_in_days": forms.number(form["expires_in_days"]),
                "user_id": user_id,
            },
            NewToken,
        )
        created = self._service.create(req.context.principal, new)
        resp.status = 201
        self.show(req, resp, "customer/token_secret.html", user_id=user_id, created=created)
