"""The application with the cache that it must not have: pages that are deleted after the commit.

It differs from the real one in nothing else. `python -m tests.stale_app` serves it.
"""

import time
from typing import Any, ClassVar
from unittest.mock import patch

import msgspec
from redis import Redis

from customer_certificates import app, server
from customer_certificates.config import Config
from customer_certificates.gateways import loop
from customer_certificates.gateways.cache import Page
from customer_certificates.gateways.metrics import Metrics
from customer_certificates.services.callers import Caller, KnownUser
from customer_certificates.services.certificates import Certificates
from customer_certificates.services.listing import CertificateFilter, Listing
from customer_certificates.services.users import Users
from customer_certificates.services.views import Tags, UploadView

_WAIT_SECONDS = 0.05


class DeletedPages:
    """Pages under the name of their user, in Redis; nothing is found under a revision."""

    def __init__(self, url: str | None, metrics: Metrics, _key: object = None) -> None:
        self._redis = Redis.from_url(url or "")

    def get(self, name: str) -> Page | None:
        return None

    def put(self, page: Page) -> None:
        pass

    def is_up(self) -> bool:
        return True

    @property
    def redis(self) -> None:
        return None

    def close(self) -> None:
        self._redis.close()

    def of_user(self, user_id: int, wanted: CertificateFilter) -> tuple[str, Page] | None:
        packed: Any = self._redis.hget(f"pages:{user_id}", repr(wanted))
        return msgspec.json.decode(packed, type=tuple[str, Page]) if packed else None

    def keep(self, user_id: int, wanted: CertificateFilter, found: tuple[str, Page]) -> None:
        self._redis.hset(f"pages:{user_id}", repr(wanted), msgspec.json.encode(found))

    def delete(self, user_id: int) -> None:
        self._redis.delete(f"pages:{user_id}")
        self._redis.incr(f"deletions:{user_id}")

    def deletions(self, user_id: int) -> bytes | None:
        deletions: Any = self._redis.get(f"deletions:{user_id}")
        return deletions  # type: ignore[no-any-return]


class DeletingListing(Listing):
    """What reads looks in the cache first."""

    _pages: DeletedPages  # type: ignore[assignment]

    def page(
        self,
        user_id: int,
        wanted: CertificateFilter,
        known: Tags,
        about: KnownUser | None = None,
    ) -> tuple[str, Page | None]:
        found = self._pages.of_user(user_id, wanted)
        if found is None:
            deletions = self._pages.deletions(user_id)
            tag, page = super().page(user_id, wanted, Tags())
            assert page is not None
            found = tag, page
            # Any request may be held up here. This one is, until a write has come between.
            deadline = time.monotonic() + _WAIT_SECONDS
            while self._pages.deletions(user_id) == deletions and time.monotonic() < deadline:
                loop.sleep(0.001)
            self._pages.keep(user_id, wanted, found)
        tag, page = found
        return tag, None if known.admit(tag) else page


class DeletingCertificates(Certificates):
    """What writes deletes from the cache afterwards."""

    pages: ClassVar[DeletedPages]

    def upload(self, caller: Caller, user_id: int, *more: Any, **named: Any) -> UploadView:
        stored = super().upload(caller, user_id, *more, **named)
        self.pages.delete(user_id)
        return stored

    def set_active(self, caller: Caller, user_id: int, *more: Any, **named: Any) -> None:
        super().set_active(caller, user_id, *more, **named)
        self.pages.delete(user_id)

    def delete(self, caller: Caller, user_id: int, *more: Any, **named: Any) -> None:
        super().delete(caller, user_id, *more, **named)
        self.pages.delete(user_id)


class DeletingUsers(Users):
    """With a user, its pages go."""

    pages: ClassVar[DeletedPages]

    def delete(self, caller: Caller, user_id: int, *more: Any, **named: Any) -> None:
        super().delete(caller, user_id, *more, **named)
        self.pages.delete(user_id)


def make_app(config: Config) -> app.Application:
    """The application of each worker process."""
    pages = DeletedPages(config.cache_url, Metrics(None))
    DeletingUsers.pages = DeletingCertificates.pages = pages
    with (
        patch.object(app, "Pages", DeletedPages),
        patch.object(app, "Certificates", DeletingCertificates),
        patch.object(app, "Listing", DeletingListing),
        patch.object(app, "Users", DeletingUsers),
    ):
        return app.create_app(config)


def main() -> None:
    with (
        patch.object(server, "make_app", make_app),
        server.metrics_folder(),
    ):
        server.serve(Config.from_environ())


if __name__ == "__main__":
    main()
