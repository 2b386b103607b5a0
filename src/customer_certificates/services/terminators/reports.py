"""Stores and shows the reports of terminators about what they serve."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta
from sqlalchemy import BigInteger, bindparam, delete, func, insert, or_, select, update

from ...errors import Conflict, NotFound
from ...gateways.database import EVERYBODY, BoundStatement, Database, Transaction
from ...gateways.database.sql_functions import as_json, ids_as_json, ids_of, names_of, replacing
from ...models import Certificate, Serving, Terminator, Token, User
from ..audit.hash_chain import NOBODY
from ..audit.log import Audit
from ..events.log import CertificateState, Events
from ..idempotency import NO_KEY, IdempotentRequest
from ..principal import Principal
from ..quotas.limits import DEFAULTS, exceeded, require

_ID = Annotated[int, Meta(ge=1, le=2**63 - 1)]
_Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00]*$",
        extra={"form": "1 to 200 characters without NUL"},
    ),
]
_Text = Annotated[
    str,
    Meta(
        max_length=1000,
        pattern=r"^[^\x00]*$",
        extra={"form": "at most 1000 characters without NUL"},
    ),
]
# Agents report once a minute, later if the service did not respond.
_LIVE = timedelta(minutes=3)
_Digest = Annotated[
    str,
    Meta(pattern=r"^[0-9a-f]{64}$(?!\n)", extra={"form": "64 lowercase hexadecimal digits"}),
]


class Reported(msgspec.Struct, forbid_unknown_fields=True):
    """A certificate that is served."""

    certificate_id: Annotated[_ID, Meta(description="The certificate.", examples=[1])]
    version: Annotated[
        int, Meta(ge=1, le=2**31 - 1, description="The version of the certificate.", examples=[1])
    ]
    fingerprint_sha256: Annotated[
        _Digest, Meta(description="SHA-256 of the certificate (DER).", examples=["5d" * 32])
    ]
    verified: Annotated[
        bool | None, Meta(description="The result of a probe. null: not probed.", examples=[None])
    ] = None


class Report(msgspec.Struct, forbid_unknown_fields=True):
    """The changes to what a terminator serves since its last report."""

    terminator: Annotated[_Name, Meta(description="The terminator's name.", examples=["edge-1"])]
    format: Annotated[
        Annotated[
            str,
            Meta(
                max_length=40,
                pattern=r"^[^\x00]*$",
                extra={"form": "at most 40 characters without NUL"},
            ),
        ],
        Meta(description="The terminator's software.", examples=["nginx"]),
    ] = ""
    cursor: Annotated[
        Annotated[
            str,
            Meta(
                max_length=200,
                pattern=r"^[^\x00]*$",
                extra={"form": "at most 200 characters without NUL"},
            ),
        ]
        | None,
        Meta(description="The feed cursor that it has reached.", examples=[None]),
    ] = None
    served: Annotated[
        Annotated[list[Reported], Meta(max_length=1000)],
        Meta(description="The certificates that it serves now.", examples=[[]]),
    ] = []
    dropped: Annotated[
        Annotated[list[_ID], Meta(max_length=1000)],
        Meta(description="The ids of certificates that it no longer serves.", examples=[[]]),
    ] = []
    errors: Annotated[
        Annotated[list[_Text], Meta(max_length=100)],
        Meta(description="The error that it has now, if any.", examples=[[]]),
    ] = []
    instance: Annotated[
        Annotated[
            str,
            Meta(
                min_length=16,
                max_length=64,
                pattern=r"^[0-9a-f]+$(?!\n)",
                extra={"form": "16 to 64 lowercase hexadecimal digits"},
            ),
        ]
        | None,
        Meta(
            description="A random, constant id of the agent. For three minutes after a "
            "report, no other "
            "agent can report under the same name.",
            examples=["0f" * 16],
        ),
    ] = None


class _Known(NamedTuple):
    """What a terminator is known to serve."""

    version: int
    serves: bool
    verified: bool | None


class TerminatorReports:
    """Stores reports, and shows them.

    The first report of a version by a terminator is recorded as an event. The row of what it serves
    has that version.
    """

    def __init__(
        self,
        database: Database,
        audit: Audit,
        events: Events,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._audit = audit
        self._events = events
        self._now = now
        self._terminator = database.prepare(
            replacing(
                Terminator,
                Terminator.name,
                (
                    Terminator.format,
                    Terminator.cursor,
                    Terminator.errors,
                    Terminator.seen_at,
                    Terminator.instance,
                ),
                where=or_(
                    Terminator.instance.is_(None),
                    Terminator.instance == bindparam("this_instance"),
                    Terminator.seen_at < bindparam("not_since"),
                ),
            ).returning(Terminator.id),
            (
                "name",
                "format",
                "cursor",
                "errors",
                "seen_at",
                "instance",
                "token_id",
                "user_id",
            ),
        )
        self._of_name = database.prepare(
            select(Terminator.id).where(Terminator.name == bindparam("name")), tenant=None
        )
        self._lock_token = database.prepare(
            select(Token.id).where(Token.id == bindparam("token_id")).with_for_update(),
            tenant=None,
        )
        self._lock_user = database.prepare(
            select(User.quotas).where(User.id == bindparam("user_id")).with_for_update()
        )
        self._names_of_token = database.prepare(
            select(func.count()).where(Terminator.token_id == bindparam("token_id")), tenant=None
        )
        self._names_of_user = database.prepare(
            select(func.count()).where(Terminator.user_id == bindparam("user_id"))
        )
        of_ids = Certificate.id.in_(ids_of("ids"))
        self._certificates = database.prepare(
            select(Certificate.user_id, *(getattr(Certificate, one) for one in _STATE)).where(
                of_ids
            ),
            tenant=None,
        )
        # The order is always the same, so that two transactions that lock several rows cannot
        # deadlock.
        self._lock = database.prepare(
            select(User.id)
            .where(User.id.in_(select(Certificate.user_id).where(of_ids)))
            .order_by(User.id)
            .with_for_update(),
            tenant=None,
        )
        self._known = database.prepare(
            select(Serving.certificate_id, Serving.version, Serving.serves, Serving.verified).where(
                Serving.terminator_id == bindparam("terminator_id"),
                Serving.certificate_id.in_(ids_of("ids")),
            ),
            tenant=None,
        )
        this = (
            Serving.terminator_id == bindparam("of_terminator", type_=BigInteger),
            Serving.certificate_id == bindparam("of_certificate", type_=BigInteger),
        )
        self._insert = database.prepare(insert(Serving), _COLUMNS)
        self._move = database.prepare(
            update(Serving).where(*this), ("version", "since", "serves", "verified")
        )
        self._verify = database.prepare(update(Serving).where(*this), ("verified",))
        self._drop = database.prepare(update(Serving).where(*this), ("serves",))

    def store(self, caller: Principal, report: Report, once: IdempotentRequest = NO_KEY) -> None:
        """Stores a report.

        Ignores certificates that are deleted or outside the caller's scope, because an agent may
        lag by a change. Raises Conflict if another agent reported under the same name in the last
        three minutes, or if a new name exceeds the quota.
        """
        with self._database.begin(EVERYBODY) as session:
            once.claim(session)
            terminator_id = self._terminator_id(session, caller, report)
            changes = self._changes(session, caller, terminator_id, report)
            if changes:
                session.run_pipeline(*changes)
                detail = {"served": len(report.served), "dropped": len(report.dropped)}
                path = f"/terminators/reports/{terminator_id}"
                self._audit.record(
                    session, caller, "terminator.report", NOBODY, path, detail=detail
                )
            once.keep(session, None)

    def delete(
        self, caller: Principal, terminator_id: int, once: IdempotentRequest = NO_KEY
    ) -> None:
        """Deletes the terminator and its reports. Raises NotFound."""
        with self._database.begin(EVERYBODY) as session:
            once.claim(session)
            gone: Any = session.execute(delete(Terminator).where(Terminator.id == terminator_id))
            if not gone.rowcount:
                raise NotFound(f"Terminator {terminator_id} does not exist.")
            path = f"/terminators/reports/{terminator_id}"
            self._audit.record(session, caller, "terminator.forget", NOBODY, path)
            once.keep(session, None)

    def _terminator_id(self, session: Transaction, caller: Principal, report: Report) -> int:
        now = self._now()
        user_id = _only_user(caller)
        if not session.run(self._of_name, name=report.terminator):
            self._require_room(session, caller, user_id)
        rows = session.run(
            self._terminator,
            name=report.terminator,
            format=report.format,
            cursor=report.cursor,
            errors=as_json(report.errors),
            seen_at=now,
            instance=report.instance,
            token_id=caller.token_id,
            user_id=user_id,
            this_instance=report.instance,
            not_since=now - _LIVE,
        )
        if not rows and caller.kind == "command":
            # The service's own probe reports for an agent, and does not occupy its name.
            rows = session.run(self._of_name, name=report.terminator)
        if not rows:
            raise Conflict(
                f"Another agent reports as {report.terminator!r}. Start one of the two with "
                "another --name. If the other agent is gone, the name is free three minutes "
                "after its last report."
            )
        terminator_id: int = rows[0][0]
        return terminator_id

    def _require_room(self, session: Transaction, caller: Principal, user_id: int | None) -> None:
        """Raises Conflict if one more name exceeds the quota.

        Names count for the user, if the caller's token is limited to one user, otherwise for the
        token. The lock on either makes the count exact.
        """
        if user_id is not None:
            rows = session.run(self._lock_user, user_id=user_id)
            ((number,),) = session.run(self._names_of_user, user_id=user_id)
            require(rows[0][0] if rows else None, "terminator_names", number + 1)
        elif caller.token_id is not None:
            session.run(self._lock_token, token_id=caller.token_id)
            ((number,),) = session.run(self._names_of_token, token_id=caller.token_id)
            if number >= (most := DEFAULTS["terminator_names"]):
                raise exceeded("terminator_names", most, "A token")

    def _changes(
        self, session: Transaction, caller: Principal, terminator_id: int, report: Report
    ) -> list[BoundStatement]:
        served = {one.certificate_id: one for one in report.served}
        ids = ids_as_json({*served, *report.dropped})
        session.run(self._lock, ids=ids)
        known = {
            row[0]: _Known(*row[1:])
            for row in session.run(self._known, terminator_id=terminator_id, ids=ids)
        }
        calls: list[BoundStatement] = []
        for user_id, *columns in session.run(self._certificates, ids=ids):
            state = CertificateState(*columns)
            if caller.reach.has_certificate(user_id, names_of(state.hostnames)):
                place = {"terminator_id": terminator_id, "certificate_id": state.id}
                before = known.get(state.id)
                if (one := served.get(state.id)) and one.version <= state.version:
                    calls += self._served(place, user_id, state, one, before)
                elif state.id in report.dropped and before and before.serves:
                    calls.append((self._drop, {**_of(place), "serves": False}))
        return calls

    def _served(
        self,
        place: dict[str, int],
        user_id: int,
        state: CertificateState,
        one: Reported,
        before: _Known | None,
    ) -> list[BoundStatement]:
        calls: list[BoundStatement] = []
        if one.verified is False:
            # A probe received another certificate: that result is kept.
            if before and before.verified is not False:
                calls.append((self._verify, {**_of(place), "verified": False}))
            return calls
        is_new = before is None or before.version != one.version
        now: dict[str, Any] = {
            "version": one.version,
            "since": self._now(),
            "serves": True,
            "verified": one.verified,
        }
        if before is None:
            calls.append((self._insert, {**place, "user_id": user_id, **now}))
        elif is_new or not before.serves:
            calls.append((self._move, {**_of(place), **now}))
        elif one.verified not in (None, before.verified):
            calls.append((self._verify, {**_of(place), "verified": one.verified}))
        if before is None or before.version < one.version:
            as_served = state._replace(
                version=one.version, fingerprint_sha256=one.fingerprint_sha256
            )
            calls += self._events.calls("certificate.served", user_id, as_served)
        return calls


def _only_user(caller: Principal) -> int | None:
    """Returns the only user that the caller's token is limited to, if there is one."""
    user_ids = caller.reach.user_ids or ()
    return next(iter(user_ids)) if len(user_ids) == 1 else None


_STATE = CertificateState._fields
_COLUMNS = (
    "terminator_id",
    "certificate_id",
    "user_id",
    "version",
    "since",
    "serves",
    "verified",
)


def _of(place: dict[str, int]) -> dict[str, int]:
    return {"of_terminator": place["terminator_id"], "of_certificate": place["certificate_id"]}
