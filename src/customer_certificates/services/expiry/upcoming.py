"""Lists expiring certificates, and stores users' notification settings."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Select, bindparam, select, update

from ...errors import user_not_found
from ...field_docs import doc
from ...gateways.database import Database, int_param, time_param
from ...gateways.database.prepared import Row
from ...gateways.database.sql_functions import names_of
from ...models import Certificate, User
from ...models.expiry_threshold import FORM
from ...pki.submission import FINGERPRINT, HOSTNAMES, NOT_AFTER
from ..audit.log import Audit
from ..etags import Tags, require_view
from ..idempotency import NO_KEY, IdempotentRequest
from ..pages import START, Cursor, KeysetPage, after_values, comes_after, keyset_page
from ..principal import Principal
from ..revisions import Revisions
from ..user_lock import lock_user
from .coverage import is_covered

Threshold = Annotated[
    str,
    doc(
        "Days (1d to 999d) before expiry, or percent (1% to 99%) of the certificate's "
        "lifetime before expiry.",
        "30d",
        pattern=FORM,
        extra={"form": "days (1d to 999d) or a percentage of the certificate's life (1% to 99%)"},
    ),
]


class ExpirySettings(msgspec.Struct, forbid_unknown_fields=True):
    """When to notify before a certificate expires."""

    thresholds: Annotated[
        Annotated[list[Threshold], Meta(max_length=10)] | None,
        doc(
            "Empty: only at expiry. null: the default, which is 30d, 14d, 7d and 1d, "
            "or 33% and 10% for certificates with a lifetime under 60 days.",
            ["30d", "10%"],
        ),
    ]


class ExpiringView(msgspec.Struct):
    """An active certificate that expires soon, or has expired."""

    id: Annotated[int, doc("The certificate's id.", 3, ge=1)]
    version: Annotated[int, doc("The version of the certificate.", 1, ge=1)]
    hostnames: Annotated[list[str], HOSTNAMES]
    not_after: Annotated[datetime, NOT_AFTER]
    fingerprint_sha256: Annotated[str | None, FINGERPRINT]
    days_left: Annotated[int, doc("Whole days until expiry. Negative after expiry.", 12)]
    covered: Annotated[
        bool,
        doc(
            "Other active certificates that expire later have all its hostnames, so no "
            "notification is sent.",
            False,
        ),
    ]


_SHOWN = ("id", "version", "hostnames", "not_after", "fingerprint_sha256")
_USER_ID = int_param("user_id")


class Expiring:
    """The use cases of expiry."""

    def __init__(
        self, database: Database, revisions: Revisions, audit: Audit, now: Callable[[], datetime]
    ) -> None:
        self._revisions = revisions
        self._audit = audit
        self._now = now
        self._page = database.prepare(select_expiring().where(Certificate.user_id == _USER_ID))
        self._thresholds = database.prepare(
            select(User.expiry_thresholds).where(User.id == bindparam("user_id"))
        )

    def page(
        self, user_id: int, within: timedelta, after: Cursor | None, limit: int
    ) -> KeysetPage[ExpiringView]:
        """Returns a page of the user's active certificates, by expiry.

        They expire `within` that time, or have expired. `after` is the `next_after` of the page
        before. Raises NotFound.
        """
        self._revisions.current(user_id)
        now = self._now()
        place = after_values(after or START)
        rows = self._page(user_id=user_id, until=now + within, limit=limit + 1, **place)
        return keyset_page(rows, limit, lambda row: ExpiringView(*expiring_fields(row, now)))

    def settings(self, user_id: int) -> ExpirySettings:
        """Returns when the user is notified. Raises NotFound."""
        rows = self._thresholds(user_id=user_id)
        if not rows:
            raise user_not_found(user_id)
        return _settings(rows[0][0])

    def set(
        self,
        principal: Principal,
        user_id: int,
        settings: ExpirySettings,
        expected: Tags | None,
        idempotent: IdempotentRequest = NO_KEY,
    ) -> ExpirySettings:
        """Stores and returns the settings, under which certificates are checked soon.

        Raises NotFound, PreconditionFailed.
        """
        path = f"/users/{user_id}/expiry"
        write = self._audit.begin(principal, "user.change", user_id, path, idempotent)
        with write as (session, entry):
            user = lock_user(session, user_id)
            require_view(expected, _settings(user.expiry_thresholds))
            thresholds = None
            if settings.thresholds is not None:
                thresholds = msgspec.json.encode(list(dict.fromkeys(settings.thresholds))).decode()
            changed = user.expiry_thresholds != thresholds
            if changed:
                user.expiry_thresholds = thresholds
                session.execute(
                    update(Certificate)
                    .where(Certificate.user_id == user_id, Certificate.active)
                    .values(expiry_due=self._now())
                )
            entry.add({"fields": ["thresholds"]}, changed=changed)
            return idempotent.save_response(session, _settings(thresholds))


def _settings(text: str | None) -> ExpirySettings:
    return ExpirySettings(None if text is None else msgspec.json.decode(text, type=list[str]))


def select_expiring(*more: Any) -> Select[*tuple[Any, ...]]:
    """Selects a page of active certificates that expire until a time, of all users.

    A row has the columns for `expiring_fields`, then `more`.
    """
    columns = [getattr(Certificate, name) for name in _SHOWN]
    return (
        select(*columns, is_covered(), *more)
        .where(
            Certificate.active,
            Certificate.not_after <= time_param("until"),
            comes_after(Certificate.not_after, Certificate.id),
        )
        .order_by(Certificate.not_after, Certificate.id)
        .limit(int_param("limit"))
    )


def expiring_fields(row: Row, now: datetime) -> tuple[Any, ...]:
    """Returns the fields of an ExpiringView, and the additional columns of the row."""
    certificate_id, version, hostnames, not_after, fingerprint, covered, *more = row
    shown = (certificate_id, version, names_of(hostnames), not_after, fingerprint)
    return (*shown, (not_after - now).days, bool(covered), *more)
