"""Stores intermediate certificates from uploads, to complete the chains of others."""

from collections.abc import Collection

import msgspec
from sqlalchemy import bindparam, or_, select

from ...gateways.database import BoundStatement, Database
from ...gateways.database.sql_functions import insert_new
from ...models import Intermediate
from ...pki.submission import ValidationResult

# CAs renew an intermediate under the same name, but not as often as this; a larger number is an
# attack.
_MOST_CANDIDATES = 8


class Intermediates:
    """Stores and finds intermediates.

    Those of public chains complete any user's chain. Others complete only their own user's, because
    they could reveal that user's CA.
    """

    def __init__(self, database: Database) -> None:
        self._insert = database.prepare(
            insert_new(Intermediate), ("user_id", "subject_hash", "fingerprint_sha256", "der")
        )
        self._find = database.prepare(
            select(Intermediate.der)
            .where(
                Intermediate.subject_hash == bindparam("subject_hash"),
                or_(Intermediate.user_id.is_(None), Intermediate.user_id == bindparam("user_id")),
            )
            .order_by(Intermediate.id.desc())
            .limit(_MOST_CANDIDATES)
        )

    def find(self, user_id: int, subject_hash: str, exclude: Collection[bytes]) -> list[bytes]:
        """Returns certificates (DER) with that subject hash, newest first, without `exclude`."""
        rows = self._find(user_id=user_id, subject_hash=subject_hash)
        return [der for (der,) in rows if der not in exclude]

    def statements(self, user_id: int, result: ValidationResult) -> list[BoundStatement]:
        """Returns the statements that store a chain's new intermediates.

        Their order is always the same, so that two transactions cannot deadlock.
        """
        owner = None if result.trust == "public" else user_id
        by_fingerprint = sorted(result.intermediates, key=lambda item: item.fingerprint_sha256)
        return [
            (self._insert, {"user_id": owner, **msgspec.structs.asdict(intermediate)})
            for intermediate in by_fingerprint
        ]
