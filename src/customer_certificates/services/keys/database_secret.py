"""Derives keys from the database's own secret, one for each purpose."""

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from sqlalchemy import select

from ...gateways.database import Database
from ...models import ServiceSecret

_KEY_BYTES = 32
_CACHED_PAGES = b"cc/cached-pages/v1"


class DatabaseSecret:
    """Derives keys that protect data outside the database.

    Anyone who can read the database has them, too.
    """

    def __init__(self, database: Database) -> None:
        self._find = database.prepare(
            select(ServiceSecret.value).where(ServiceSecret.name == "database"), tenant=None
        )

    def key_of_cached_pages(self) -> bytes | None:
        """Returns the key that authenticates pages in Redis; None if the secret was removed.

        Raises Unavailable.
        """
        rows = self._find()
        if not rows:
            return None
        # The secret is uniformly random, so the first half of HKDF has nothing to extract.
        return HKDFExpand(SHA256(), _KEY_BYTES, _CACHED_PAGES).derive(bytes(rows[0][0]))
