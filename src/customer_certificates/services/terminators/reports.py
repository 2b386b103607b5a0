"""Stores the reports of terminators about what they serve."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta
from sqlalchemy import bindparam, delete, func, insert, or_, select, update

from ...errors import Conflict, NotFound
from ...field_docs import Id, doc
from ...gateways.database import EVERYBODY, BoundStatement, Database, Transaction, int_param
from ...gateways.database.sql_functions import as_json, ids_as_json, ids_of, names_of, replacing
from ...models import PROBE, Certificate, Serving, Terminator, Token, User
from ..audit.hash_chain import NOBODY
from ..audit.log import Audit
from ..events.log import CertificateState, Events
from ..idempotency import NO_KEY, IdempotentRequest
from ..principal import Principal
from ..quotas.limits import DEFAULTS, exceeded, require

# Agents report once a minute, later if the service did not respond.
_LIVE = timedelta(minutes=3)


def _text(least: int, most: int) -> Meta:
    """Returns the limits of a text of `least` to `most` characters."""
    size = f"{least} to {most}" if least else f"at most {most}"
    return Meta(
        min_length=least or None,
        max_length=most,
        pattern=r"^[^\x00]*$",
        extra={"form": f"a string of {size} characters without NUL"},
    )


_Name = Annotated[str, _text(1, 200)]
_Format = Annotated[str, _text(0, 40)]
_Cursor = Annotated[str, _text(0, 200)]
_Error = Annotated[str, _text(0, 1000)]
_Digest = Annotated[
    str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)", extra={"form": "64 lowercase hexadecimal digits"})
]
_Instance = Annotated[
    str,
    Meta(
        min_length=16,
        max_length=64,
        pattern=r"^[0-9a-f]+$(?!\n)",
        extra={"form": "16 to 64 lowercase hexadecimal digits"},
    ),
]


class Reported(msgspec.Struct, forbid_unknown_fields=True):
    """A certificate that is served."""

    certificate_id: Annotated[Id, doc("The certificate.", 1)]
    version: Annotated[int, doc("The version of the certificate.", 1, ge=1, le=2**31 - 1)]
    fingerprint_sha256: Annotated[_Digest, doc("SHA-256 of the certificate (DER).", "5d" * 32)]
    verified: Annotated[bool | None, doc("The result of a probe. null: not probed.", None)] = None


class Report(msgspec.Struct, forbid_unknown_fields=True):
    """The changes to what a terminator serves since its last report."""

    terminator: Annotated[_Name, doc("The terminator's name.", "edge-1")]
    format: Annotated[_Format, doc("The terminator's software.", "nginx")] = ""
    cursor: Annotated[_Cursor | None, doc("The feed cursor that it has reached.", None)] = None
    served: Annotated[
        Annotated[list[Reported], Meta(max_length=1000)],
        doc("The certificates that it serves now.", []),
    ] = []
    dropped: Annotated[
        Annotated[list[Id], Meta(max_length=1000)],
        doc("The ids of certificates that it no longer serves.", []),
    ] = []
    errors: Annotated[
        Annotated[list[_Error], Meta(max_length=100)], doc("The error that it has now, if any.", [])
    ] = []
    instance: Annotated[
        _Instance | None,
        doc("A random id of the agent. Others cannot use its name for three minutes.", "0f" * 16),
    ] = None


class _Stored(NamedTuple):
    """The stored report of a terminator about a certificate."""

    version: int
    serves: bool
    verified: bool | None


class TerminatorReports:
    """Stores reports.

    The first report of a version by a terminator is recorded as an event. The row of what it serves
    has that version.
    """

    def __init__(
        self, database: Database, audit: Audit, events: Events, now: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._audit = audit
        self._events = events
        self._now = now
        self._upsert_terminator = database.prepare(_upsert_terminator(), _TERMINATOR_COLUMNS)
        of_ids = Certificate.id.in_(ids_of("ids"))
        self._certificates = database.prepare(
            select(Certificate.user_id, *(getattr(Certificate, name) for name in _STATE)).where(
                of_ids
            ),
            tenant=None,
        )
        # The order is always the same, so that two transactions that lock several rows cannot
        # deadlock.
        self._lock_owners = database.prepare(
            select(User.id)
            .where(User.id.in_(select(Certificate.user_id).where(of_ids)))
            .order_by(User.id)
            .with_for_update(),
            tenant=None,
        )
        self._stored = database.prepare(
            select(Serving.certificate_id, Serving.version, Serving.serves, Serving.verified).where(
                Serving.terminator_id == bindparam("terminator_id"),
                Serving.certificate_id.in_(ids_of("ids")),
            ),
            tenant=None,
        )
        self._insert = database.prepare(insert(Serving), _SERVING_COLUMNS)
        changed = update(Serving).where(
            Serving.terminator_id == int_param("of_terminator"),
            Serving.certificate_id == int_param("of_certificate"),
        )
        self._update = database.prepare(changed, ("version", "since", "serves", "verified"))
        self._set_verified = database.prepare(changed, ("verified",))
        self._set_serves = database.prepare(changed, ("serves",))

    def store(
        self, principal: Principal, report: Report, idempotent: IdempotentRequest = NO_KEY
    ) -> None:
        """Stores a report.

        Ignores certificates that are deleted or outside the principal's scope, because an agent may
        lag by a change. Raises Conflict if another agent reported under the same name in the last
        three minutes, or if a new name exceeds the quota.
        """
        with self._database.begin(EVERYBODY) as session:
            idempotent.claim(session)
            terminator_id = self._terminator_id(session, principal, report)
            changes = self._changes(session, principal, terminator_id, report)
            if changes:
                session.run_pipeline(*changes)
                detail = {"served": len(report.served), "dropped": len(report.dropped)}
                path = f"/terminators/reports/{terminator_id}"
                self._audit.record(
                    session, principal, "terminator.report", NOBODY, path, detail=detail
                )
            idempotent.save_response(session, None)

    def delete(
        self, principal: Principal, terminator_id: int, idempotent: IdempotentRequest = NO_KEY
    ) -> None:
        """Deletes the terminator and its reports. Raises NotFound."""
        path = f"/terminators/reports/{terminator_id}"
        write = self._audit.begin(principal, "terminator.forget", NOBODY, path, idempotent)
        with write as (session, entry):
            result: Any = session.execute(delete(Terminator).where(Terminator.id == terminator_id))
            if not result.rowcount:
                raise NotFound(f"Terminator {terminator_id} does not exist.")
            entry.add()
            idempotent.save_response(session, None)

    def _terminator_id(self, session: Transaction, principal: Principal, report: Report) -> int:
        """Stores the terminator, and returns its id. Raises Conflict."""
        now, user_id = self._now(), _only_user(principal)
        of_name = select(Terminator.id, Terminator.format).where(
            Terminator.name == report.terminator
        )
        known = session.execute(of_name).one_or_none()
        if known is None:
            _require_quota(session, principal, user_id)
        elif principal.kind == "command" and known.format != PROBE:
            # The service's own probe reports for an agent, and does not occupy its name. An agent
            # that has stopped stays silent.
            return int(known.id)
        rows = session.run(
            self._upsert_terminator,
            name=report.terminator,
            format=report.format,
            cursor=report.cursor,
            errors=as_json(report.errors),
            seen_at=now,
            instance=report.instance,
            token_id=principal.token_id,
            user_id=user_id,
            this_instance=report.instance,
            not_since=now - _LIVE,
        )
        terminator_id: int | None = rows[0][0] if rows else None
        if terminator_id is None and principal.kind == "command":
            # An agent has just taken the name.
            terminator_id = session.scalar(of_name)
        if terminator_id is None:
            raise Conflict(
                f"Another agent already uses the name {report.terminator!r}. Start this agent with "
                "another --name. If the other agent has stopped, try again three minutes after its "
                "last report."
            )
        return terminator_id

    def _changes(
        self, session: Transaction, principal: Principal, terminator_id: int, report: Report
    ) -> list[BoundStatement]:
        """Returns the statements that store what has changed since the last report."""
        served = {item.certificate_id: item for item in report.served}
        ids = ids_as_json({*served, *report.dropped})
        session.run(self._lock_owners, ids=ids)
        rows = session.run(self._stored, terminator_id=terminator_id, ids=ids)
        stored = {certificate_id: _Stored(*columns) for certificate_id, *columns in rows}
        statements: list[BoundStatement] = []
        for user_id, *columns in session.run(self._certificates, ids=ids):
            state = CertificateState(*columns)
            if not principal.terminator_scope.has_certificate(user_id, names_of(state.hostnames)):
                continue
            key = {"of_terminator": terminator_id, "of_certificate": state.id}
            before = stored.get(state.id)
            reported = served.get(state.id)
            if reported and reported.version <= state.version:
                statements += self._served(key, user_id, state, reported, before)
            elif state.id in report.dropped and before and before.serves:
                statements.append((self._set_serves, {**key, "serves": False}))
        return statements

    def _served(
        self,
        key: dict[str, int],
        user_id: int,
        state: CertificateState,
        reported: Reported,
        before: _Stored | None,
    ) -> list[BoundStatement]:
        """Returns the statements for a certificate that is served; `key` is that of its row."""
        if reported.verified is False:
            # A probe received another certificate: that result is kept.
            is_news = before is not None and before.verified is not False
            return [(self._set_verified, {**key, "verified": False})] if is_news else []
        statements: list[BoundStatement] = []
        values: dict[str, Any] = {
            "version": reported.version,
            "since": self._now(),
            "serves": True,
            "verified": reported.verified,
        }
        if before is None:
            ids = {"terminator_id": key["of_terminator"], "certificate_id": state.id}
            statements.append((self._insert, {**ids, "user_id": user_id, **values}))
        elif before.version != reported.version or not before.serves:
            statements.append((self._update, {**key, **values}))
        elif reported.verified not in (None, before.verified):
            statements.append((self._set_verified, {**key, "verified": reported.verified}))
        if before is None or before.version < reported.version:
            as_served = state._replace(
                version=reported.version, fingerprint_sha256=reported.fingerprint_sha256
            )
            statements += self._events.calls("certificate.served", user_id, as_served)
        return statements


def _upsert_terminator() -> Any:
    """Stores a terminator, unless another agent reported under its name within _LIVE."""
    changed = ("format", "cursor", "errors", "seen_at", "instance")
    columns = [getattr(Terminator, name) for name in changed]
    is_same_agent = or_(
        Terminator.instance.is_(None),
        Terminator.instance == bindparam("this_instance"),
        Terminator.seen_at < bindparam("not_since"),
    )
    stored = replacing(Terminator, Terminator.name, columns, where=is_same_agent)
    return stored.returning(Terminator.id)


def _require_quota(session: Transaction, principal: Principal, user_id: int | None) -> None:
    """Raises Conflict if one more name exceeds the quota.

    Names count for the user, if the token is limited to one user, otherwise for the token. The lock
    on either makes the count exact.
    """
    names = select(func.count()).select_from(Terminator)
    if user_id is not None:
        quotas = session.scalar(select(User.quotas).where(User.id == user_id).with_for_update())
        number = session.scalar(names.where(Terminator.user_id == user_id)) or 0
        require(quotas, "terminator_names", number + 1)
    elif principal.token_id is not None:
        token_id = principal.token_id
        session.execute(select(Token.id).where(Token.id == token_id).with_for_update())
        number = session.scalar(names.where(Terminator.token_id == token_id)) or 0
        if number >= (most := DEFAULTS["terminator_names"]):
            raise exceeded("terminator_names", most, "A token")


def _only_user(principal: Principal) -> int | None:
    """Returns the only user that the principal's token is limited to, if there is one."""
    user_ids = principal.terminator_scope.user_ids or ()
    return next(iter(user_ids)) if len(user_ids) == 1 else None


_STATE = CertificateState._fields
_SERVING_COLUMNS = (
    *("terminator_id", "certificate_id", "user_id"),
    *("version", "since", "serves", "verified"),
)
_TERMINATOR_COLUMNS = (
    *("name", "format", "cursor", "errors", "seen_at", "instance"),
    *("token_id", "user_id"),
)
