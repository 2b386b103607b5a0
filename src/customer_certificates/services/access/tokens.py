"""Tokens: create, list, revoke."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta
from sqlalchemy import bindparam, delete, func, insert, not_, or_, select

from ...crypto import token_format
from ...crypto.token_format import TokenKind
from ...errors import Conflict, Finding, Forbidden, Invalid, Malformed, NotFound
from ...field_docs import Id, Time, doc
from ...gateways.database import EVERYBODY, Database, Transaction, int_param
from ...gateways.database.prepared import Row
from ...models import Token, User
from ...pki.names.hostnames import normalise
from ..audit.hash_chain import NOBODY
from ..audit.log import Audit, Outcome
from ..pages import Page, page_of
from ..principal import Principal
from ..quotas.limits import require_of
from ..user_lock import lock_user
from ..users.users import Name
from .current_password import require_same_password
from .permissions import SCOPES, Scope

_Name = Annotated[Name, doc("The purpose of the token.", "backup of the web server")]
_Kind = Annotated[
    TokenKind,
    doc(
        "user: manages the certificates of one user. operator: manages users and everything but "
        "keys. terminator: for the machines that terminate TLS.",
        "user",
    ),
]
_Scopes = Annotated[list[Scope], doc("The permissions of a user token. Other kinds have none.")]
# How many expired or revoked tokens of a user are kept (the newest).
_DEAD = 100


class NewToken(msgspec.Struct, forbid_unknown_fields=True):
    """A token to create."""

    name: _Name
    kind: _Kind = "user"
    scopes: Annotated[_Scopes, Meta(examples=[["certificates:read"]])] = []
    expires_in_days: Annotated[int, doc("How long the token is valid.", 90, ge=1, le=365)] = 90
    user_id: Annotated[
        Id | None, doc("The owner of a user token, if an operator creates it.", None)
    ] = None
    user_ids: Annotated[
        Annotated[list[Id], Meta(min_length=1, max_length=1000)] | None,
        doc("The users that a terminator serves. null: all.", None),
    ] = None
    hostnames: Annotated[
        Annotated[list[str], Meta(min_length=1, max_length=1000)] | None,
        doc("The hostnames that a terminator serves. null: all.", None),
    ] = None


class TokenView(msgspec.Struct):
    """A token, without its secret."""

    id: Annotated[int, doc("The token's id, which is part of its text.", 1, ge=1)]
    kind: _Kind
    user_id: Annotated[int | None, doc("The owner of a user token.")]
    name: Annotated[str, doc("The purpose of the token.")]
    scopes: _Scopes
    user_ids: Annotated[list[int] | None, doc("The users that a terminator serves. null: all.")]
    hostnames: Annotated[
        list[str] | None, doc("The hostnames that a terminator serves. null: all.")
    ]
    created_at: Annotated[Time, doc("When the token was created.")]
    expires_at: Annotated[Time, doc("When the token expires.")]
    last_used_at: Annotated[
        Time | None, doc("When the token was last used, to the minute. null: never.")
    ]
    revoked_at: Annotated[Time | None, doc("When the token was revoked. null: not revoked.")]
    by_password: Annotated[
        bool, doc("true: created with the user's password. A change of the password revokes it.")
    ]


# The columns of a row for `_view`, in its order.
_SHOWN = TokenView.__struct_fields__


class NewTokenView(TokenView):
    """A token that was just created."""

    token: Annotated[
        str,
        doc(
            "Send it as Authorization: Bearer …. Returned only in this response.", "ccert_user_1_…"
        ),
    ]


class Tokens:
    """The use cases of tokens."""

    def __init__(self, database: Database, audit: Audit, now: Callable[[], datetime]) -> None:
        self._database = database
        self._audit = audit
        self._now = now
        shown = [getattr(Token, name) for name in _SHOWN]
        of_user = int_param("user_id")
        self._page = database.prepare(
            select(*shown)
            .where(or_(of_user.is_(None), Token.user_id == of_user), Token.id > bindparam("after"))
            .order_by(Token.id)
            .limit(int_param("limit")),
            tenant=None,
        )

    def create(self, principal: Principal, new: NewToken) -> NewTokenView:
        """Creates the token, for the principal or for a user that it manages.

        Raises Malformed, Invalid, NotFound (no such user), Forbidden (a user requests another
        user's token, or another kind), or Conflict: the service requires no credentials, the
        password was changed in the meantime, or the user's quota is exceeded.
        """
        user_id = _owner(principal, new)
        hostnames = _checked(new, user_id)
        secret, now = token_format.new_secret(), self._now()
        values = {
            "kind": new.kind,
            "user_id": user_id,
            "name": new.name,
            "scopes": " ".join(scope for scope in SCOPES if scope in new.scopes),
            "user_ids": _json(new.user_ids and sorted({*new.user_ids})),
            "hostnames": _json(hostnames),
            "secret_sha256": token_format.digest(secret),
            "created_at": now,
            "expires_at": now + timedelta(days=new.expires_in_days),
            "by_password": principal.password_hash is not None,
        }
        chain = user_id or NOBODY
        write = self._audit.begin(principal, "token.create", chain, None, tenant=EVERYBODY)
        with write as (session, entry):
            if principal.password_hash is not None:
                require_same_password(session, principal)
            _require_users(session, user_id, new.user_ids or [])
            if user_id is not None:
                _require_room(session, user_id, now)
            added = session.execute(insert(Token).values(values).returning(Token.id))
            token_id = added.scalar_one()
            entry.path = f"/tokens/{token_id}"
            entry.add({"kind": new.kind, "scopes": values["scopes"], "days": new.expires_in_days})
        view = _view((token_id, *(values.get(name) for name in _SHOWN[1:])))
        text = token_format.write(new.kind, token_id, secret)
        return NewTokenView(**msgspec.structs.asdict(view), token=text)

    def page(
        self, principal: Principal, user_id: int | None, after: int, limit: int
    ) -> Page[TokenView]:
        """Returns a page of tokens by id.

        Users see their own tokens; others see all, or those of the user `user_id`.
        """
        owner = principal.user_id if principal.kind == "user" else user_id
        rows = self._page(user_id=owner, after=after, limit=limit + 1)
        return page_of(rows, limit, _view)

    def revoke(self, principal: Principal, token_id: int) -> None:
        """Revokes the token. Does nothing if it is already revoked.

        Raises NotFound, also for another user's token, and Forbidden: a token without every scope
        revokes only itself.
        """
        if principal.kind == "user" and token_id != principal.token_id:
            missing = [scope for scope in SCOPES if scope not in principal.scopes]
            if missing:
                raise Forbidden(
                    "To revoke other tokens, a token needs every scope. This one lacks "
                    f"{', '.join(missing)}."
                )
        with self._database.begin(EVERYBODY) as session:
            token = session.get(Token, token_id, with_for_update=True)
            if token is None or (principal.kind == "user" and token.user_id != principal.user_id):
                raise NotFound(f"Token {token_id} does not exist.")
            outcome: Outcome = "unchanged" if token.revoked_at else "done"
            token.revoked_at = token.revoked_at or self._now()
            session.flush()
            self._audit.record(
                session,
                principal,
                "token.revoke",
                token.user_id or NOBODY,
                f"/tokens/{token_id}",
                outcome=outcome,
            )


def _owner(principal: Principal, new: NewToken) -> int | None:
    """Returns the user that will own the token. Raises Conflict, Forbidden."""
    if principal.kind == "open":
        raise Conflict(
            "This service requires no credentials, so it creates no tokens. Send requests without "
            "one."
        )
    if principal.kind != "user":
        return new.user_id
    if new.kind != "user" or new.user_id not in (None, principal.user_id):
        raise Forbidden("A password creates tokens of its own user only. Use an operator token.")
    return principal.user_id


def _checked(new: NewToken, user_id: int | None) -> list[str] | None:
    """Returns the normalized hostnames.

    Raises Malformed or Invalid with all fields that do not fit the kind.
    """
    missing, findings = list[Finding](), list[Finding]()
    if new.kind == "user":
        if not new.scopes:
            missing.append(_required("scopes", f"at least one of {', '.join(SCOPES)}"))
        if user_id is None:
            missing.append(_required("user_id", "the id of the user that owns the token"))
    else:
        findings += [_unfit(name, new) for name in ("scopes", "user_id") if getattr(new, name)]
    if new.kind != "terminator":
        findings += [_unfit(name, new) for name in ("user_ids", "hostnames") if getattr(new, name)]
    names = [(hostname, normalise(hostname)) for hostname in new.hostnames or ()]
    findings += [
        Finding(
            "invalid_value", "hostnames", f"{name[:100]!r} is not a hostname.", "Correct the value."
        )
        for name, normal in names
        if normal is None
    ]
    if missing:
        raise Malformed("The token is invalid; nothing was created.", errors=missing + findings)
    if findings:
        raise Invalid("The token is invalid; nothing was created.", errors=findings)
    return sorted({normal for _, normal in names if normal}) or None


def _require_room(session: Transaction, user_id: int, now: datetime) -> None:
    """Locks the user's row. Raises Conflict if one more token exceeds the quota.

    Expired and revoked tokens are not counted. They are kept only so that their holders get an
    explanation.
    """
    lock_user(session, user_id)
    of_user = Token.user_id == user_id
    valid = session.execute(select(func.count()).where(of_user, Token.is_valid(now))).scalar_one()
    require_of(session, user_id, "tokens", valid + 1)
    dead = select(Token.id).where(of_user, not_(Token.is_valid(now))).order_by(Token.id.desc())
    session.execute(delete(Token).where(Token.id.in_(dead.offset(_DEAD))))


def _required(field: str, what: str) -> Finding:
    return Finding("required", field, f"{field} is missing.", f"Send {what}.")


def _unfit(field: str, new: NewToken) -> Finding:
    return Finding("unfit", field, f"A token of kind {new.kind} cannot have {field}.", "Omit it.")


def _require_users(session: Transaction, user_id: int | None, served: list[int]) -> None:
    ids = {*served} if user_id is None else {user_id}
    existing = set(session.scalars(select(User.id).where(User.id.in_(ids)))) if ids else set()
    if missing := sorted(ids - existing):
        field = "user_ids" if user_id is None else "user_id"
        detail = f"User {missing[0]} does not exist."
        raise Invalid(
            "The token is invalid; nothing was created.",
            errors=[Finding("unknown_user", field, detail, "Correct the value.")],
        )


def _view(row: Row) -> TokenView:
    values = dict(zip(_SHOWN, row, strict=True))
    values["scopes"] = values["scopes"].split()
    for name in ("user_ids", "hostnames"):
        values[name] = values[name] and msgspec.json.decode(values[name])
    return TokenView(**values)


def _json(values: list[int] | list[str] | None) -> str | None:
    return msgspec.json.encode(values).decode() if values else None
