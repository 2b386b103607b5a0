"""The cost of recording an event at an activation, with and without events by turns."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import certifi
import sqlalchemy as sa

from customer_certificates.gateways.database import BoundStatement, Database
from customer_certificates.gateways.master_keys import MasterKeys
from customer_certificates.gateways.metrics import Metrics
from customer_certificates.gateways.sandbox.pool import SandboxPool
from customer_certificates.models import Delivery
from customer_certificates.pki.names.policy import NamePolicy
from customer_certificates.pki.validation import Validator
from customer_certificates.services.audit.log import Audit
from customer_certificates.services.certificates.intermediates import Intermediates
from customer_certificates.services.certificates.parts import CertificateParts
from customer_certificates.services.certificates.requests import Activation
from customer_certificates.services.certificates.service import Certificates
from customer_certificates.services.certificates.validation import Validation
from customer_certificates.services.events.log import Events
from customer_certificates.services.hostnames.ownership import Hostnames, OwnershipRules
from customer_certificates.services.keys.data_keys import DataKeys
from customer_certificates.services.keys.private_keys import PrivateKeys
from customer_certificates.services.principal import Principal
from customer_certificates.services.revisions import Revisions
from tests.tables import add_certificates, add_users

from .clock import now

_PRINCIPAL = Principal("open", "bench", "127.0.0.1")
_AT_ONCE = 50
# Whose certificates, and through which use cases.
_Case = tuple[Certificates, int, list[int]]


class _NoEvents(Events):
    def calls(self, *_given: Any, **_named: Any) -> list[BoundStatement]:
        return []


def cost(database: Database, engine: sa.Engine, master_keys: MasterKeys, rounds: int) -> str:
    """A line that says how long an activation takes with events and without: without HTTP, and
    without waiting for the disk, which would make the difference smaller."""
    (user_id,) = add_users(engine, 1)
    ids = _add_certificates(engine, user_id)
    with _validators() as children:
        cases = [
            (_certificates(database, master_keys, children, events), user_id, ids)
            for events in (_NoEvents(database, now), Events(database, now))
        ]
        without, with_events = _by_turns(cases, engine, rounds)
    return (
        f"an activation: {without:,.0f} µs without events, {with_events:,.0f} µs with: "
        f"{(with_events / without - 1) * 100:+.1f} %"
    )


def cost_of_an_endpoint(
    database: Database,
    engine: sa.Engine,
    master_keys: MasterKeys,
    users: Sequence[int],
    rounds: int,
) -> float:
    """Per cent that an activation takes longer for the second of two users, who has an endpoint,
    than for the first, who has none."""
    with _validators() as children:
        certificates = _certificates(database, master_keys, children, Events(database, now))
        cases = [(certificates, user, _add_certificates(engine, user)) for user in users]
        unheard, heard = _by_turns(cases, engine, rounds)
    return (heard / unheard - 1) * 100


def _add_certificates(engine: sa.Engine, user_id: int) -> list[int]:
    names = f'["www.user{user_id}.example.com"]'
    return add_certificates(engine, user_id, _AT_ONCE, active=False, hostnames=names)


@contextmanager
def _validators() -> Iterator[SandboxPool]:
    roots = Path(certifi.where()).read_bytes()
    children = SandboxPool(Validator, roots, size=1, on_exit=Metrics(None).sandbox_ended)
    try:
        yield children
    finally:
        children.close()


def _certificates(
    database: Database, master_keys: MasterKeys, children: SandboxPool, events: Events
) -> Certificates:
    intermediates = Intermediates(database)
    return Certificates(
        CertificateParts(
            database,
            Validation(children, intermediates, now, Metrics(None), enforce=False),
            intermediates,
            Hostnames(database, now, OwnershipRules(NamePolicy(), proof_required=False)),
            Revisions(database, now),
            Audit(database, now),
            events,
            DataKeys(database, master_keys, now),
            PrivateKeys(database),
            now,
        )
    )


def _by_turns(cases: Sequence[_Case], engine: sa.Engine, rounds: int) -> list[float]:
    """The median microseconds of an activation in each of two cases, measured in alternation."""
    took: list[list[float]] = [[], []]
    for turn in range(rounds + 1):
        for place in range(_AT_ONCE):
            for which in (0, 1) if (turn + place) % 2 else (1, 0):
                certificates, user_id, ids = cases[which]
                began = time.perf_counter()
                for active in (True, False):
                    certificates.set_active(
                        _PRINCIPAL, user_id, ids[place], Activation(active), None
                    )
                if turn:
                    took[which].append((time.perf_counter() - began) / 2)
        with engine.begin() as connection:
            # As if a worker had sent them, and had tidied up.
            connection.execute(sa.delete(Delivery))
    return [median(times) * 1e6 for times in took]
