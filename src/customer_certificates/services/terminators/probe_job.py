"""Probes configured addresses: do they serve the expected certificates?"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, DateTime, bindparam, select

from ...config import ProbeAddress
from ...gateways.database import Database
from ...gateways.database.sql_functions import names_of
from ...gateways.tls_probe import ProbeFailure
from ...models import Certificate, Event
from ...pki.selection import best, decide
from ..certificates.candidates import Candidates, Found
from ..principal import Principal
from .reports import Report, Reported, TerminatorReports

# The certificates of one run: recently changed ones, and the next ones of all in rotation.
_MOST_RECENT = 50
_MOST_IN_TURN = 50
_LATELY = timedelta(minutes=10)
_MOST_ERRORS = 100
_FORMAT = "probe"

# Returns the fingerprint that a server serves for a name; raises ProbeFailure. Parameters: host,
# port, name, key type.
Probe = Callable[[str, int, str, str | None], str]


class ProbeJob:
    """Probes each address for the hostnames of some certificates, and reports the results."""

    def __init__(
        self,
        database: Database,
        candidates: Candidates,
        reports: TerminatorReports,
        probe: Probe,
        addresses: Sequence[ProbeAddress],
        now: Callable[[], datetime],
    ) -> None:
        self._candidates = candidates
        self._reports = reports
        self._probe = probe
        self._addresses = addresses
        self._now = now
        self._after = 0
        self._recent = database.prepare(
            select(Event.hostnames)
            .where(
                Event.at > bindparam("lately", type_=DateTime(timezone=True)),
                Event.certificate_id.is_not(None),
                Event.active.is_(True),
            )
            .order_by(Event.id.desc())
            .limit(_MOST_RECENT),
            tenant=None,
        )
        self._in_turn = database.prepare(
            select(Certificate.id, Certificate.hostnames)
            .where(
                Certificate.id > bindparam("after", type_=BigInteger),
                Certificate.active,
                Certificate.chain_pem.is_not(None),
            )
            .order_by(Certificate.id)
            .limit(_MOST_IN_TURN),
            tenant=None,
        )

    def run(self) -> int:
        """Probes, and returns the number of hostnames times addresses. Raises Unavailable."""
        selected = self._selected()
        for address in self._addresses:
            self._look(address, selected)
        return len(selected) * len(self._addresses)

    def _selected(self) -> dict[str, tuple[Found, str | None]]:
        """Returns the expected certificates of some hostnames, each with the key type to ask for.

        The key type is None unless clients with other key types get another certificate.
        """
        recent = self._recent(lately=self._now() - _LATELY)
        in_turn = self._in_turn(after=self._after)
        self._after = in_turn[-1][0] if len(in_turn) == _MOST_IN_TURN else 0
        names = dict.fromkeys(
            _a_name(names_of(hostnames))
            for hostnames in [*(row[0] for row in recent), *(row[1] for row in in_turn)]
        )
        return {name: found for name in names if name and (found := self._selected_for(name))}

    def _selected_for(self, name: str) -> tuple[Found, str | None] | None:
        found = {one.candidate.certificate_id: one for one in self._candidates.served(name)}
        candidates = [one.candidate for one in found.values()]
        selected = decide(name, candidates, self._now()).selected
        chosen = best(name, selected)
        if chosen is None:
            return None
        return found[chosen.certificate_id], chosen.key_type if len(selected) > 1 else None

    def _look(self, address: ProbeAddress, selected: dict[str, tuple[Found, str | None]]) -> None:
        served, errors = dict[int, Reported](), list[str]()
        for name, ((candidate, fingerprint), key_type) in selected.items():
            try:
                seen = self._probe(address.host, address.port, name, key_type)
            except ProbeFailure as failure:
                errors.append(f"{name}: {failure}")
                continue
            is_served = seen == fingerprint
            if not is_served:
                errors.append(
                    f"{name}: {seen[:16]}… is served instead of {(fingerprint or '')[:16]}…"
                )
            served[candidate.certificate_id] = Reported(
                candidate.certificate_id, candidate.version, fingerprint or "", is_served
            )
        report = Report(
            address.name, _FORMAT, served=[*served.values()], errors=errors[:_MOST_ERRORS]
        )
        self._reports.store(Principal("command", "probe", ""), report)


def _a_name(hostnames: Sequence[str]) -> str | None:
    """Returns a hostname to ask for; for a wildcard, one that it covers."""
    return next((name.replace("*", "probe", 1) for name in hostnames), None)
