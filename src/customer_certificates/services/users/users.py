"""Users: register, read, change, delete with all their data."""

from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Annotated, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy import ColumnElement, bindparam, delete, select, update
from sqlalchemy.exc import IntegrityError

from ...errors import Conflict, Finding, user_not_found
from ...field_docs import doc
from ...gateways.database import Database, Transaction, int_param, text_param
from ...gateways.database.prepared import Prepared, Row
from ...models import NEVER, ConsoleSession, Token, User, UserLabel, email_key, new_revision
from ..audit.hash_chain import NOBODY
from ..audit.log import Audit
from ..challenges.contests import Contests
from ..etags import Tags, require_view
from ..events.log import Events
from ..hostnames.ownership import Hostnames
from ..idempotency import NO_KEY, IdempotentRequest
from ..labels import (
    MOST_CONDITIONS,
    ExternalId,
    Labels,
    has_label,
    label_values,
    labels_json,
    labels_of,
    require_may_label_users,
)
from ..pages import Page, page_of
from ..principal import Principal, UserSnapshot
from ..rate_counts import RateCounts
from ..user_lock import lock_user
from .address_verification import AddressVerification
from .password_hashing import Passwords
from .password_rules import require_strong
from .registrations import Registrations
from .views import UserView

# RFC 5322, 3.4.1, with RFC 6531: dot-atoms, so that nothing in an address needs quotes or ends it.
# Invisible characters, and those that reverse the direction of text, are excluded.
_NOT_IN_A_WORD = (
    r"\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff()<>\[\]:;@\\,.\""
)
_WORD = f"[^{_NOT_IN_A_WORD}]+"
_LABEL = f"(?!-)[^{_NOT_IN_A_WORD}!#$%&'*+/=?^_`{{|}}~]+(?<!-)"

Name = Annotated[
    str,
    doc(
        "The user's name; not blank, no control characters.",
        "Ada Lovelace",
        min_length=1,
        max_length=200,
        pattern=r"^[^\S\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$(?!\n)",
        extra={"form": "a string of 1 to 200 characters, not blank, without control characters"},
    ),
]
Email = Annotated[
    str,
    doc(
        "Unique among users; compared case-insensitively.",
        "ada@example.com",
        max_length=254,
        pattern=rf"^{_WORD}(\.{_WORD})*@{_LABEL}(\.{_LABEL})*$(?!\n)",
        extra={"form": "an email address of at most 254 characters"},
    ),
]
Password = Annotated[
    str,
    doc(
        "Stored only as a hash, and never returned. In the profile prd, it must have "
        "at least 8 characters, not be a common password, and not be the name or email address.",
        "correct horse battery staple",
        min_length=1,
        max_length=1024,
    ),
]


class NewUser(msgspec.Struct, forbid_unknown_fields=True):
    """A user to register."""

    name: Name
    email: Email
    password: Password
    external_id: ExternalId = None
    labels: Labels = {}


class UserChanges(msgspec.Struct, forbid_unknown_fields=True):
    """Changes to a user; omitted fields are unchanged."""

    name: Name | UnsetType = UNSET
    email: Email | UnsetType = UNSET
    password: Annotated[
        Password | UnsetType,
        doc("A change revokes all tokens that were created with the password."),
    ] = UNSET
    keep_tokens: Annotated[
        bool | UnsetType,
        doc(
            "true: a change of the password revokes no token. No effect without a password.", False
        ),
    ] = UNSET
    external_id: ExternalId | UnsetType = UNSET
    labels: Labels | UnsetType = UNSET


_SHOWN = select(
    User.id,
    User.name,
    User.email,
    User.email_verified_at,
    User.created_at,
    User.external_id,
    User.labels,
)


class UserFilter(NamedTuple):
    """Selects users that match every condition given. `labels` are like `env=production`."""

    email: str | None = None
    external_id: str | None = None
    labels: tuple[str, ...] = ()


_CONDITIONS: dict[str, ColumnElement[bool]] = {
    "email_key": User.email_key == text_param("email_key"),
    "external_id": User.external_id == text_param("external_id"),
    **{
        f"label_name_{number}": has_label(UserLabel, number, UserLabel.user_id == User.id)
        for number in range(MOST_CONDITIONS)
    },
}


class SignedIn(NamedTuple):
    """A user who signed in, and the password hash that was checked."""

    user_id: int
    password_hash: str


class Users:
    """The use cases of users."""

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        hostnames: Hostnames,
        audit: Audit,
        events: Events,
        verification: AddressVerification,
        now: Callable[[], datetime],
        *,
        strong_passwords: bool = False,
    ) -> None:
        """`strong_passwords`: new passwords must satisfy the rules of `prd` (password_rules.py)."""
        self._database = database
        self._passwords = passwords
        self._hostnames = hostnames
        self._audit = audit
        self._events = events
        self._verification = verification
        self._strong_passwords = strong_passwords
        self._now = now
        self._contests = Contests(database, now)
        self._registrations = Registrations(RateCounts(database, now))
        self._by_id = database.prepare(_SHOWN.where(User.id == bindparam("user_id")), by_key=True)
        # Each set of conditions has its own statement.
        self._page = cache(self._prepare_page)
        self._login = database.prepare(
            select(User.id, User.password_hash).where(User.email_key == bindparam("email_key")),
            tenant=None,
        )

    def register(
        self, principal: Principal, new: NewUser, idempotent: IdempotentRequest = NO_KEY
    ) -> int:
        """Stores `new`, and returns its id.

        Raises Invalid (the password), Forbidden (only operators set labels), Conflict if another
        user has the email address or the external id, or TooManyRequests if a client without
        credentials registered too many.
        """
        require_may_label_users(principal, labels=bool(new.external_id or new.labels))
        if self._strong_passwords:
            require_strong(new.password, new.name, new.email)
        is_limited = principal.kind == "anybody"
        if is_limited:
            self._registrations.require_room(principal.peer)
        now = self._now()
        user = User(
            name=new.name,
            email=new.email,
            email_key=email_key(new.email),
            password_hash=self._passwords.hash(new.password),
            certificates_revision=new_revision(),
            statuses_as_of=now,
            statuses_change_at=NEVER,
            created_at=now,
            external_id=new.external_id,
            labels=labels_json(new.labels),
        )
        write = self._audit.begin(principal, "user.register", NOBODY, None, idempotent)
        with write as (session, entry):
            if is_limited:
                self._registrations.add(session, principal.peer)
            session.add(user)
            _flush(session)
            detail = self._queue_verification(session, principal, user)
            entry.chain, entry.path = user.id, f"/users/{user.id}"
            entry.add(detail)
            return idempotent.save_response(session, user.id)

    def get(self, user_id: int, snapshot: UserSnapshot | None = None) -> UserView:
        """Returns the user; `snapshot` is its row, if authentication has already read it.

        Raises NotFound.
        """
        if snapshot is not None:
            return view_of_user(snapshot)
        rows = self._by_id(user_id=user_id)
        if not rows:
            raise user_not_found(user_id)
        return _view(rows[0])

    def page(self, criteria: UserFilter, after: int, limit: int) -> Page[UserView]:
        """Returns a page of the users that match `criteria`, by id."""
        email, external_id, labels = criteria
        values: dict[str, object] = {"after": after, "limit": limit + 1, **label_values(labels)}
        if email is not None:
            values["email_key"] = email_key(email)
        if external_id is not None:
            values["external_id"] = external_id
        rows = self._page(frozenset(values))(**values)
        return page_of(rows, limit, _view)

    def _prepare_page(self, names: frozenset[str]) -> Prepared:
        conditions = [_CONDITIONS[name] for name in sorted(names) if name in _CONDITIONS]
        page = _SHOWN.where(User.id > bindparam("after"), *conditions)
        return self._database.prepare(page.order_by(User.id).limit(int_param("limit")), tenant=None)

    def change(
        self,
        principal: Principal,
        user_id: int,
        changes: UserChanges,
        expected: Tags | None,
        idempotent: IdempotentRequest = NO_KEY,
    ) -> UserView:
        """Stores `changes`, and returns the changed user.

        A new password revokes the tokens created with the old one, even the request's own. Raises
        NotFound, PreconditionFailed, Invalid (the password), Forbidden (only operators set labels),
        or Conflict if another user has the email address or the external id.
        """
        require_may_label_users(
            principal, labels=changes.external_id is not UNSET or changes.labels is not UNSET
        )
        password_hash = self._new_hash(user_id, changes)
        path = f"/users/{user_id}"
        write = self._audit.begin(principal, "user.change", user_id, path, idempotent)
        with write as (session, entry):
            user = lock_user(session, user_id)
            require_view(expected, view_of_user(user))
            email_changes = changes.email is not UNSET and changes.email != user.email
            _set_fields(user, changes)
            if password_hash:
                user.password_hash = password_hash
            changed = session.is_modified(user)
            _flush(session)
            detail: dict[str, object] = {"fields": [*msgspec.to_builtins(changes)]}
            if email_changes:
                self._verification.set_unverified(session, user)
                detail |= self._queue_verification(session, principal, user)
            if password_hash:
                detail["tokens_revoked"] = self._record_new_password(
                    session, user_id, keep_tokens=changes.keep_tokens is True
                )
            entry.add(detail, changed=changed)
            return idempotent.save_response(session, view_of_user(user))

    def delete(
        self,
        principal: Principal,
        user_id: int,
        expected: Tags | None,
        idempotent: IdempotentRequest = NO_KEY,
    ) -> None:
        """Deletes the user with every certificate and key. Raises NotFound, PreconditionFailed."""
        path = f"/users/{user_id}"
        write = self._audit.begin(principal, "user.delete", user_id, path, idempotent)
        with write as (session, entry):
            require_view(expected, view_of_user(lock_user(session, user_id)))
            self._contests.end_with_user(session, user_id)
            self._hostnames.release_all(session, user_id)
            statement, values = self._events.deactivated_with_user(user_id)
            session.run(statement, **values)
            session.execute(delete(User).where(User.id == user_id))
            entry.add(also=self._events.calls("user.deleted", user_id))
            idempotent.save_response(session, None)

    def sign_in(self, email: str, password: str) -> SignedIn | None:
        """Returns the user with this email address and password, or None.

        An outdated hash, such as the older system's bcrypt, is replaced.
        """
        rows = self._login(email_key=email_key(email))
        if not rows:
            # Timing must not reveal that the user does not exist.
            self._passwords.hash(password)
            return None
        user_id, password_hash = rows[0]
        matches, better = self._passwords.check(password_hash, password)
        if better:
            with self._database.begin(user_id) as session:
                user = lock_user(session, user_id)
                # The password may have been changed during the hashing.
                if user.password_hash == password_hash:
                    user.password_hash = password_hash = better
        return SignedIn(user_id, password_hash) if matches else None

    def _new_hash(self, user_id: int, changes: UserChanges) -> str | None:
        """Returns the hash of the new password, if any. Raises NotFound, Invalid."""
        if changes.password is UNSET:
            return None
        user = self.get(user_id)
        if self._strong_passwords:
            require_strong(
                changes.password,
                user.name if changes.name is UNSET else changes.name,
                user.email if changes.email is UNSET else changes.email,
            )
        return self._passwords.hash(changes.password)

    def _record_new_password(self, session: Transaction, user_id: int, *, keep_tokens: bool) -> int:
        """Revokes the tokens created with the password, and returns their number.

        Ends the user's sessions of the console.
        """
        self._events.record(session, "user.password_changed", user_id)
        session.execute(delete(ConsoleSession).where(ConsoleSession.user_id == user_id))
        if keep_tokens:
            return 0
        now = self._now()
        revoked = session.execute(
            update(Token)
            .where(Token.user_id == user_id, Token.by_password, Token.is_valid(now))
            .values(revoked_at=now)
            .returning(Token.id)
        )
        return len(revoked.all())

    def _queue_verification(
        self, session: Transaction, principal: Principal, user: User
    ) -> dict[str, object]:
        """Queues the verification email for `user`, and returns the audit details.

        A rate limit prevents the email, but not the registration.
        """
        if not self._verification.by_mail:
            return {}
        wait = self._verification.queue(session, principal, user)
        return {"verification_mail": "queued" if wait is None else "limited"}


def _set_fields(user: User, changes: UserChanges) -> None:
    """Sets the columns that `changes` has, but for the password."""
    if changes.name is not UNSET:
        user.name = changes.name
    if changes.email is not UNSET:
        user.email, user.email_key = changes.email, email_key(changes.email)
    if changes.external_id is not UNSET:
        user.external_id = changes.external_id
    if changes.labels is not UNSET:
        user.labels = labels_json(changes.labels)


def _flush(session: Transaction) -> None:
    try:
        session.flush()
    except IntegrityError as error:
        # The first line names the constraint. Later ones may quote what the client sent.
        if "external_id" in str(error.orig).partition("\n")[0]:
            finding = Finding(
                "external_id_taken",
                "external_id",
                "Another user has this external id.",
                "Use another one, or look the user up with GET /users?external_id=….",
            )
            raise Conflict("Another user has this external id.", errors=[finding]) from error
        finding = Finding(
            "email_taken",
            "email",
            "Another user has this email address (case is ignored).",
            "Use another address, or look the user up with GET /users?email=….",
        )
        raise Conflict("Another user has this email address.", errors=[finding]) from error


def view_of_user(user: User | UserSnapshot) -> UserView:
    """Returns the view of a user."""
    return _view(
        (
            user.id,
            user.name,
            user.email,
            user.email_verified_at,
            user.created_at,
            user.external_id,
            user.labels,
        )
    )


def _view(row: Row) -> UserView:
    user_id, name, email, email_verified_at, created_at, external_id, labels = row
    is_verified = email_verified_at is not None
    return UserView(user_id, name, email, is_verified, created_at, external_id, labels_of(labels))
