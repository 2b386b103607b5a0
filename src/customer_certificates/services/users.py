"""Users: registered, shown, changed, deleted with all that is theirs."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import BigInteger, bindparam, delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ..errors import Conflict, Finding, NotFound
from ..gateways.database import EVERYBODY, Database
from ..models import NEVER, User, email_key, new_revision
from .audit import Audit
from .audit_chain import NOBODY
from .callers import Caller, KnownUser
from .events import Events
from .passwords import Passwords
from .registrations import Registrations
from .repeats import ANY_NUMBER, Once
from .views import Tags, UserView, require_view

# RFC 5322, 3.4.1, with RFC 6531: dot-atoms, so that nothing in an address needs quotes or ends it.
# Characters that are not seen, or that turn others around, are no part of one.
_NOT_IN_A_WORD = (
    r"\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff()<>\[\]:;@\\,.\""
)
_WORD = f"[^{_NOT_IN_A_WORD}]+"
_LABEL = f"(?!-)[^{_NOT_IN_A_WORD}!#$%&'*+/=?^_`{{|}}~]+(?<!-)"

Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        pattern=r"^(?=.*\S)[^\x00-\x1f\x7f]*$(?!\n)",
        description="What to call the user; not blank, no control characters.",
        examples=["Ada Lovelace"],
    ),
]
Email = Annotated[
    str,
    Meta(
        max_length=254,
        pattern=rf"^{_WORD}(\.{_WORD})*@{_LABEL}(\.{_LABEL})*$(?!\n)",
        description="Unique among users; compared without case.",
        examples=["ada@example.com"],
    ),
]
Password = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=1024,
        description="Stored only as a hash, and returned by no route.",
        examples=["correct horse battery staple"],
    ),
]


class NewUser(msgspec.Struct, forbid_unknown_fields=True):
    """A user to register."""

    name: Name
    email: Email
    password: Password


class UserChanges(msgspec.Struct, forbid_unknown_fields=True):
    """What to change of a user; what is left out stays."""

    name: Name | UnsetType = UNSET
    email: Email | UnsetType = UNSET
    password: Password | UnsetType = UNSET


class Users:
    """The use cases that have to do with users."""

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        audit: Audit,
        events: Events,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._audit = audit
        self._events = events
        self._now = now
        self._registrations = Registrations(database, now)
        shown = (User.id, User.name, User.email, User.created_at)
        self._by_id = database.prepare(select(*shown).where(User.id == bindparam("user_id")))
        some = select(*shown).order_by(User.id).limit(bindparam("limit", type_=BigInteger))
        self._after = database.prepare(some.where(User.id > bindparam("after")), tenant=None)
        self._by_email = database.prepare(
            some.where(User.email_key == bindparam("email_key"), User.id > bindparam("after")),
            tenant=None,
        )
        self._login = database.prepare(
            select(User.id, User.password_hash).where(User.email_key == bindparam("email_key")),
            tenant=None,
        )

    def register(self, caller: Caller, new: NewUser, once: Once = ANY_NUMBER) -> int:
        """Stores `new` and gives its id. Raises Conflict where the e-mail is another user's, or
        TooManyRequests if a caller without credentials has registered too many."""
        is_limited = caller.kind == "anybody"
        if is_limited:
            self._registrations.require_room(caller.peer)
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
        )
        with self._audit.of_refusals(caller, "user.register", NOBODY, None):
            try:
                with self._database.begin(EVERYBODY) as session:
                    once.claim(session)
                    if is_limited:
                        self._registrations.add(session, caller.peer)
                    session.add(user)
                    session.flush()
                    path = f"/users/{user.id}"
                    self._audit.record(session, caller, "user.register", user.id, path)
                    return once.keep(session, user.id)
            except IntegrityError as error:
                raise _email_taken() from error

    def get(self, user_id: int, known: KnownUser | None = None) -> UserView:
        """The user; `known` is its row, where it came with what let the request in.

        Raises NotFound.
        """
        if known is not None:
            return UserView(known.id, known.name, known.email, known.created_at)
        rows = self._by_id(user_id=user_id)
        if not rows:
            raise user_not_found(user_id)
        return UserView(*rows[0])

    def page(self, email: str | None, after: int, limit: int) -> tuple[list[UserView], int | None]:
        """At most `limit` users by id, from the first one after `after`, only those with `email`
        where it is given; and the id that the next page is after, None on the last page."""
        if email is None:
            rows = self._after(after=after, limit=limit + 1)
        else:
            rows = self._by_email(email_key=email_key(email), after=after, limit=limit + 1)
        views = [UserView(*row) for row in rows[:limit]]
        return views, views[-1].id if len(rows) > limit else None

    def change(
        self,
        caller: Caller,
        user_id: int,
        changes: UserChanges,
        expected: Tags | None,
        once: Once = ANY_NUMBER,
    ) -> UserView:
        """Stores `changes` and gives the user as it is then.

        Raises NotFound, PreconditionFailed, or Conflict where the e-mail is another user's.
        """
        password_hash = None
        if changes.password is not UNSET:
            self.get(user_id)
            password_hash = self._passwords.hash(changes.password)
        path = f"/users/{user_id}"
        with self._audit.of_refusals(caller, "user.change", user_id, path):
            try:
                with self._database.begin(user_id) as session:
                    once.claim(session)
                    user = locked_user(session, user_id)
                    require_view(expected, _view(user))
                    if changes.name is not UNSET:
                        user.name = changes.name
                    if changes.email is not UNSET:
                        user.email, user.email_key = changes.email, email_key(changes.email)
                    if password_hash:
                        user.password_hash = password_hash
                    changed = session.is_modified(user)
                    session.flush()
                    self._audit.record(
                        session,
                        caller,
                        "user.change",
                        user_id,
                        path,
                        outcome="done" if changed else "unchanged",
                        detail={"fields": _sent(changes)},
                    )
                    return once.keep(session, _view(user))
            except IntegrityError as error:
                raise _email_taken() from error

    def delete(
        self, caller: Caller, user_id: int, expected: Tags | None, once: Once = ANY_NUMBER
    ) -> None:
        """Removes the user with every certificate and key. Raises NotFound, PreconditionFailed."""
        path = f"/users/{user_id}"
        with (
            self._audit.of_refusals(caller, "user.delete", user_id, path),
            self._database.begin(user_id) as session,
        ):
            once.claim(session)
            require_view(expected, _view(locked_user(session, user_id)))
            statement, values = self._events.deactivated_with_user(user_id)
            session.run(statement, **values)
            session.execute(delete(User).where(User.id == user_id))
            told = self._events.calls("user.deleted", user_id)
            self._audit.record(session, caller, "user.delete", user_id, path, also=told)
            once.keep(session, None)

    def sign_in(self, email: str, password: str) -> int | None:
        """The id of the user with this e-mail and password, or None.

        An outdated hash, such as the older system's bcrypt, is replaced on the way.
        """
        rows = self._login(email_key=email_key(email))
        if not rows:
            # It must not be told from the time that there is no such user.
            self._passwords.hash(password)
            return None
        user_id, made = rows[0]
        matches, better = self._passwords.check(made, password)
        if better:
            with self._database.begin(user_id) as session:
                user = locked_user(session, user_id)
                # The password may have been changed while this one was being hashed.
                if user.password_hash == made:
                    user.password_hash = better
        return user_id if matches else None


def locked_user(session: Session, user_id: int) -> User:
    """The user's row, locked until the transaction ends: it puts a user's writes in order."""
    user = session.get(User, user_id, with_for_update=True)
    if user is None:
        raise user_not_found(user_id)
    return user


def user_not_found(user_id: int) -> NotFound:
    """The refusal for a user that is not there."""
    return NotFound(f"There is no user {user_id}.")


def _sent(changes: UserChanges) -> list[str]:
    """Their names, never their values."""
    return [name for name, value in msgspec.structs.asdict(changes).items() if value is not UNSET]


def _view(user: User) -> UserView:
    return UserView(user.id, user.name, user.email, user.created_at)


def _email_taken() -> Conflict:
    return Conflict(
        "Another user has this e-mail address.",
        errors=[
            Finding(
                "email_taken",
                "email",
                "Another user has this e-mail address (case is not compared).",
                "Use another address, or look the user up with GET /users?email=….",
            )
        ],
    )
