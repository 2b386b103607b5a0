"""What recording an event adds to an activation: with events and without, by turns."""

import time
from pathlib import Path
from statistics import median
from typing import Any

import certifi
import sqlalchemy as sa

from customer_certificates.gateways.children import Children
from customer_certificates.gateways.database import Call, Database
from customer_certificates.gateways.master_keys import MasterKeys
from customer_certificates.gateways.metrics import Metrics
from customer_certificates.pki.examination import Examiner
from customer_certificates.pki.name_policy import NamePolicy
from customer_certificates.services.audit import Audit
from customer_certificates.services.callers import Caller
from customer_certificates.services.certificates import Certificates
from customer_certificates.services.data_keys import DataKeys
from customer_certificates.services.events import Events
from customer_certificates.services.hostname_ownership import OwnershipRules
from customer_certificates.services.hostnames import Hostnames
from customer_certificates.services.inspection import Inspection
from customer_certificates.services.intermediates import Intermediates
from customer_certificates.services.private_keys import PrivateKeys
from customer_certificates.services.revisions import Revisions
from customer_certificates.services.uploads import Activation
from tests.tables import add_certificates, add_users

from .clock import now

_CALLER = Caller("open", "bench", "127.0.0.1")
_AT_ONCE = 50


class _NoEvents(Events):
    def calls(self, *_given: Any, **_named: Any) -> list[Call]:
        return []


def cost(database: Database, engine: sa.Engine, master_keys: MasterKeys, rounds: int) -> str:
    """A line that says how long an activation takes with events and without: without HTTP, and
    without waiting for the disk, which would make the difference smaller."""
    (user_id,) = add_users(engine, 1)
    certificate_ids = add_certificates(
        engine, user_id, _AT_ONCE, active=False, hostnames='["www.example.com"]'
    )
    roots = Path(certifi.where()).read_bytes()
    children = Children(Examiner, roots, size=1, count=Metrics(None).child_ended)
    intermediates = Intermediates(database)
    both = [
        Certificates(
            database,
            Inspection(children, intermediates, now, enforce=False),
            intermediates,
            Hostnames(database, now, OwnershipRules(NamePolicy(), proof_required=False)),
            Revisions(database, now),
            Audit(database, now),
            events,
            DataKeys(database, master_keys, now),
            PrivateKeys(database),
            now,
        )
        for events in (_NoEvents(database, now), Events(database, now))
    ]
    took: list[list[float]] = [[], []]
    for turn in range(rounds + 1):
        for certificate_id in certificate_ids:
            for which in (0, 1) if turn % 2 else (1, 0):
                began = time.perf_counter()
                for active in (True, False):
                    both[which].set_active(
                        _CALLER, user_id, certificate_id, Activation(active), None
                    )
                if turn:
                    took[which].append((time.perf_counter() - began) / 2)
    children.close()
    without, with_events = (median(times) * 1e6 for times in took)
    return (
        f"an activation: {without:,.0f} µs without events, {with_events:,.0f} µs with: "
        f"{(with_events / without - 1) * 100:+.1f} %"
    )
