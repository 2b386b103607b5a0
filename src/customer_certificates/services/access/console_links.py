"""One-use links from a portal to a user's console."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Annotated, NamedTuple

import msgspec
from sqlalchemy import bindparam, delete, insert, select

from ...crypto.link_tokens import digest_of, new_link_token
from ...errors import Conflict, Finding, Invalid
from ...field_docs import Time, doc
from ...gateways.database import EVERYBODY, Database, time_param
from ...models import ConsoleLink, User
from ..audit.log import Audit
from ..batched_deletes import removal_of_oldest, remove_in_batches
from ..principal import Principal
from ..user_lock import lock_user
from .console_sessions import ConsoleSessions
from .permissions import SCOPES

LIFETIME = timedelta(seconds=60)
_MOST_CHARACTERS = 2000


class NewConsoleLink(msgspec.Struct, forbid_unknown_fields=True):
    """A link to create."""

    return_url: Annotated[
        str | None,
        doc(
            "A page of your portal. The console shows a link back to it. Its origin must be one of "
            "CC_CONSOLE_RETURN_ORIGINS.",
            "https://portal.example.com/account",
        ),
    ] = None


class ConsoleLinkView(msgspec.Struct):
    """A link that was just created."""

    url: Annotated[
        str,
        doc(
            "Send the user's browser here. Whoever opens the link acts as the user. It is returned "
            "only in this response.",
            "https://certificates.example.com/console/links/3f0a…",
        ),
    ]
    expires_at: Annotated[Time, doc("When the link expires: 60 seconds after its creation.")]


class LinkTarget(NamedTuple):
    """The user whose console a link opens."""

    user_id: int
    name: str


class ConsoleLinks:
    """The use cases of links. Only the SHA-256 of a link's token is stored."""

    def __init__(
        self,
        database: Database,
        sessions: ConsoleSessions,
        audit: Audit,
        now: Callable[[], datetime],
        *,
        public_origin: str | None,
        return_origins: Sequence[str],
    ) -> None:
        """Links begin with `public_origin`. Pages of `return_origins` may be `return_url`."""
        self._database = database
        self._sessions = sessions
        self._audit = audit
        self._now = now
        self._public_origin = public_origin
        self._return_origins = return_origins
        self._find = database.prepare(
            select(User.id, User.name)
            .join(ConsoleLink, ConsoleLink.user_id == User.id)
            .where(
                ConsoleLink.token_sha256 == bindparam("token_sha256"),
                ConsoleLink.expires_at > time_param("now"),
            ),
            tenant=None,
        )
        self._remove = database.prepare(
            removal_of_oldest(
                ConsoleLink.token_sha256,
                ConsoleLink.expires_at <= time_param("now"),
                ConsoleLink.expires_at,
            )
        )

    def create(self, principal: Principal, user_id: int, new: NewConsoleLink) -> ConsoleLinkView:
        """Creates a link to the console of the user.

        Raises Invalid, NotFound, or Conflict: there are no credentials, or no public URL.
        """
        if principal.kind == "open":
            raise Conflict(
                "This service requires no credentials, and neither does its console: open /console."
            )
        if self._public_origin is None:
            raise Conflict(
                "The service does not know its own URL, so it creates no links. Set CC_PUBLIC_URL."
            )
        self._require_allowed(new.return_url)
        token, now = new_link_token(), self._now()
        view = ConsoleLinkView(f"{self._public_origin}/console/links/{token}", now + LIFETIME)
        path = f"/users/{user_id}/console-links"
        with self._audit.begin(principal, "console.create_link", user_id, path) as (session, entry):
            lock_user(session, user_id)
            session.execute(
                insert(ConsoleLink).values(
                    token_sha256=digest_of(token),
                    user_id=user_id,
                    return_url=new.return_url,
                    expires_at=view.expires_at,
                )
            )
            entry.add()
        return view

    def target(self, token: str) -> LinkTarget | None:
        """Returns the user whose console the link opens; None for an invalid link."""
        rows = self._find(token_sha256=digest_of(token), now=self._now())
        return LinkTarget(*rows[0]) if rows else None

    def redeem(self, token: str, replaced: str, request_id: str, peer: str) -> str | None:
        """Uses the link up, and returns the secret of a new session; None for an invalid link.

        The session with the secret `replaced`, if there is one, ends.
        """
        target = self.target(token)
        if target is None:
            return None
        principal = Principal(
            "user", request_id, peer, user_id=target.user_id, scopes=frozenset(SCOPES)
        )
        write = self._audit.begin(
            principal, "console.sign_in", target.user_id, None, tenant=EVERYBODY
        )
        with write as (session, entry):
            # Another request may have used the link up in the meantime.
            used = session.execute(
                delete(ConsoleLink)
                .where(
                    ConsoleLink.token_sha256 == digest_of(token),
                    ConsoleLink.expires_at > self._now(),
                )
                .returning(ConsoleLink.return_url)
            ).all()
            if not used:
                return None
            secret = self._sessions.add(
                session, principal, replaced, by_password=False, return_url=used[0][0]
            )
            entry.add({"by": "link"})
        return secret

    def purge(self) -> int:
        """Deletes expired links, and returns their number."""
        return remove_in_batches(self._database, self._remove, now=self._now())

    def _require_allowed(self, url: str | None) -> None:
        """Raises Invalid if the console must not link to `url`."""
        if url is None:
            return
        is_plain = url.isascii() and url.isprintable() and len(url) <= _MOST_CHARACTERS
        # A prefix that ends with the origin: nothing is parsed, as browsers parse in other ways.
        if is_plain and any(
            url == origin or url.startswith((f"{origin}/", f"{origin}?", f"{origin}#"))
            for origin in self._return_origins
        ):
            return
        detail = "return_url is not a page of an allowed origin."
        hint = (
            f"Send a URL of at most {_MOST_CHARACTERS} ASCII characters that begins with an origin "
            "in CC_CONSOLE_RETURN_ORIGINS, or omit it."
        )
        raise Invalid(
            "1 field is invalid.", errors=[Finding("invalid_value", "return_url", detail, hint)]
        )
