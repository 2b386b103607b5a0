"""The service with one of seven caches that it must not have, all of which show old pages.

`python -m tests.broken_caches NAME` serves it. It differs from the real service in nothing else.
Every thread may be held up at any moment; here a reader is, between its statement and its cache,
until a write has come between.
"""

import sys
import time
from collections.abc import Callable
from typing import Any, ClassVar
from unittest.mock import patch

import msgspec
import psycopg
from redis import Redis, RedisError
from sqlalchemy import make_url

from customer_certificates import composition
from customer_certificates.cli import main
from customer_certificates.config import Config
from customer_certificates.gateways.cache.page_cache import Page
from customer_certificates.gateways.metrics import Metrics
from customer_certificates.services.certificates import listing
from customer_certificates.services.certificates.listing import CertificateFilter, Listing
from customer_certificates.services.certificates.service import Certificates
from customer_certificates.services.certificates.versions.service import Versions
from customer_certificates.services.etags import Tags, encode, tag_of_revision
from customer_certificates.services.principal import Principal
from customer_certificates.services.users.users import Users

_HOLD_SECONDS = 0.03
_CALL_SECONDS = 0.05
_REST_SECONDS = 1
_LEASE_MILLISECONDS = 10_000
# "Keep this if the key still has that value."
_KEEP_IF = """
if redis.call('get', KEYS[1]) == ARGV[1] then
  redis.call('hset', KEYS[2], ARGV[2], ARGV[3])
end
"""

Found = tuple[str, Page]


class UserPages:
    """Pages in Redis under the name of their user. A Redis that fails is let alone for a second.

    A subclass says what a write does before it begins and after it was committed, and whether a
    reader may keep the page that it has read.
    """

    current: ClassVar["UserPages"]

    def __init__(self, url: str | None, metrics: Metrics, _key: object = None) -> None:
        self._redis = Redis.from_url(
            url or "", socket_timeout=_CALL_SECONDS, socket_connect_timeout=_CALL_SECONDS
        )
        self._rests_until = 0.0
        UserPages.current = self

    def get(self, name: str) -> Page | None:
        """Nothing: no page is kept under a revision."""
        return None

    def put(self, page: Page) -> None:
        """Does nothing, as `get` finds nothing."""

    def is_up(self) -> bool:
        return True

    @property
    def redis(self) -> None:
        return None

    def close(self) -> None:
        self._redis.close()

    def before_write(self, user_id: int) -> None:
        """A write begins."""

    def after_write(self, user_id: int) -> None:
        """A write was committed."""

    def read(self, user_id: int, wanted: CertificateFilter, load: Callable[[], Found]) -> Found:
        """The page that is kept, or the one that is loaded now."""
        packed = self.ask("hget", _pages(user_id), repr(wanted))
        if packed:
            return msgspec.json.decode(packed, type=tuple[str, Page])
        permission = self.permission(user_id)
        found = load()
        self._hold(user_id)
        if permission is not None:
            self.keep(user_id, repr(wanted), msgspec.json.encode(found), permission)
        return found

    def permission(self, user_id: int) -> bytes | None:
        """Allows a reader to keep what it is about to read, or does not (None)."""
        return b""

    def keep(self, user_id: int, name: str, packed: bytes, permission: bytes) -> None:
        self.ask("hset", _pages(user_id), name, packed)

    def delete(self, user_id: int) -> None:
        self.ask("delete", _pages(user_id))

    def count_write(self, user_id: int) -> None:
        """Tells readers that are held up that a write has come between."""
        self.ask("incr", f"writes:{user_id}")

    def ask(self, command: str, *arguments: Any) -> Any:
        """The response of Redis; None if it does not respond, or did not a moment ago."""
        if time.monotonic() < self._rests_until:
            return None
        try:
            return getattr(self._redis, command)(*arguments)
        except RedisError:
            self._rests_until = time.monotonic() + _REST_SECONDS
            return None

    def _hold(self, user_id: int) -> None:
        before = self.ask("get", f"writes:{user_id}")
        deadline = time.monotonic() + _HOLD_SECONDS
        while self.ask("get", f"writes:{user_id}") == before and time.monotonic() < deadline:
            time.sleep(0.005)


class DeletedBeforeCommit(UserPages):
    """A reader that comes before the commit keeps what was."""

    def before_write(self, user_id: int) -> None:
        self.delete(user_id)


class DeletedAfterCommit(UserPages):
    """A reader that reads before the commit, and keeps after the deletion, keeps what was."""

    def after_write(self, user_id: int) -> None:
        self.delete(user_id)


class Lease(UserPages):
    """The deletion after the commit ends the lease of readers as well, unless it does not happen:
    Redis does not answer just then, or the writer is killed."""

    def permission(self, user_id: int) -> bytes | None:
        token = str(time.monotonic_ns()).encode()
        taken = self.ask("set", _lease(user_id), token, None, _LEASE_MILLISECONDS, True)
        return token if taken else None

    def keep(self, user_id: int, name: str, packed: bytes, permission: bytes) -> None:
        keys = _lease(user_id), _pages(user_id)
        self.ask("eval", _KEEP_IF, 2, *keys, permission, name, packed)
        self.ask("delete", _lease(user_id))

    def after_write(self, user_id: int) -> None:
        self.ask("delete", _lease(user_id), _pages(user_id))


class CompareAndSet(UserPages):
    """Writes count, and a reader keeps a page if the count is what it was before. A write counts
    before its commit: a reader that comes between has the new count and the old page."""

    def before_write(self, user_id: int) -> None:
        self.ask("incr", f"count:{user_id}")
        self.delete(user_id)

    def permission(self, user_id: int) -> bytes | None:
        self.ask("setnx", f"count:{user_id}", 0)
        count: bytes | None = self.ask("get", f"count:{user_id}")
        return count

    def keep(self, user_id: int, name: str, packed: bytes, permission: bytes) -> None:
        keys = f"count:{user_id}", _pages(user_id)
        self.ask("eval", _KEEP_IF, 2, *keys, permission, name, packed)


class Marker(UserPages):
    """No reader keeps a page while a write is marked; one that looked before the mark, and keeps
    after it is gone, does."""

    def before_write(self, user_id: int) -> None:
        self.ask("set", f"writing:{user_id}", 1, None, _LEASE_MILLISECONDS)

    def after_write(self, user_id: int) -> None:
        self.ask("delete", f"writing:{user_id}", _pages(user_id))

    def permission(self, user_id: int) -> bytes | None:
        return None if self.ask("exists", f"writing:{user_id}") else b""


class PagesListing(Listing):
    """Reads look in `UserPages` first."""

    def page(
        self, principal: Principal, user_id: int, criteria: CertificateFilter, known_tags: Tags
    ) -> tuple[str, Page | None]:
        def load() -> Found:
            tag, page = super(PagesListing, self).page(principal, user_id, criteria, Tags())
            assert page is not None
            return tag, page

        tag, page = UserPages.current.read(user_id, criteria, load)
        return tag, None if known_tags.admit(tag) else page


class RowsFirstListing(Listing):
    """Reads the rows and, in another statement, the revision under which it keeps them: a write
    that comes between makes old rows the page of the new revision."""

    def page(
        self, principal: Principal, user_id: int, criteria: CertificateFilter, known_tags: Tags
    ) -> tuple[str, Page | None]:
        tag = tag_of_revision(self._revisions.current(user_id))
        if known_tags.admit(tag):
            return tag, None
        _tag_of_rows, views, next_after = self._read(user_id, criteria)
        time.sleep(_HOLD_SECONDS / 10)
        tag = tag_of_revision(self._revisions.current(user_id))
        name = listing.cache_key(user_id, tag, criteria)
        kept = self._pages.get(name)
        if kept is None:
            kept = Page(name, next_after, encode(views))
            self._pages.put(kept)
        return tag, kept


def _writing(kind: Any, *names: str) -> Any:
    """`kind` with methods that tell `UserPages` of a user's write."""

    def telling(name: str) -> Callable[..., Any]:
        def tell(self: Any, caller: Principal, user_id: int, *more: Any, **named: Any) -> Any:
            UserPages.current.before_write(user_id)
            done = getattr(kind, name)(self, caller, user_id, *more, **named)
            UserPages.current.count_write(user_id)
            UserPages.current.after_write(user_id)
            return done

        return tell

    return type(kind.__name__, (kind,), {name: telling(name) for name in names})


# Revisions become the numbers 1, 2, 3 …: those that a database forgets in a restore come again.
_COUNTER = """
CREATE OR REPLACE FUNCTION next_revision() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE number int;
BEGIN
  IF TG_OP = 'INSERT' THEN
    NEW.certificates_revision := decode(lpad('1', 32, '0'), 'hex');
  ELSIF NEW.certificates_revision <> OLD.certificates_revision THEN
    number := ('x' || right(encode(OLD.certificates_revision, 'hex'), 8))::bit(32)::int;
    NEW.certificates_revision := decode(lpad(to_hex(number + 1), 32, '0'), 'hex');
  END IF;
  RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER next_revision BEFORE INSERT OR UPDATE ON users
  FOR EACH ROW EXECUTE FUNCTION next_revision();
"""


def _count_revisions() -> None:
    url = make_url(Config.from_environ().database_url).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
        connection.execute(_COUNTER)


def _pages(user_id: int) -> str:
    return f"pages:{user_id}"


def _lease(user_id: int) -> str:
    return f"lease:{user_id}"


_USER_PAGES: dict[str, type[UserPages]] = {
    "delete-before-commit": DeletedBeforeCommit,
    "commit-then-delete": DeletedAfterCommit,
    "lease": Lease,
    "compare-and-set": CompareAndSet,
    "marker": Marker,
}
MUTANTS = (*_USER_PAGES, "rows-before-revision", "counter")


def serve() -> None:
    """Serves with the cache that the command's argument names."""
    name = sys.argv[1]
    changed: dict[str, Any] = {}
    if name in _USER_PAGES:
        changed = {
            "PageCache": _USER_PAGES[name],
            "Listing": PagesListing,
            "Certificates": _writing(Certificates, "upload", "set_active", "delete"),
            "Versions": _writing(Versions, "replace"),
            "Users": _writing(Users, "delete"),
        }
    elif name == "rows-before-revision":
        changed = {"Listing": RowsFirstListing}
    elif name == "counter":
        _count_revisions()
    else:
        raise SystemExit(f"There is no cache {name!r}. There are: {', '.join(MUTANTS)}")
    # The workers are forked from this process.
    with patch.multiple(composition, **changed) if changed else patch.dict({}):
        sys.argv = ["customer-certificates", "serve"]
        main()


if __name__ == "__main__":
    serve()
