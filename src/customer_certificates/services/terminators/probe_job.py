"""Probes configured addresses: do they serve the expected certificates?"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import select

from ...gateways.database import Database, int_param, time_param
from ...gateways.database.sql_functions import names_of
from ...gateways.tls_probe import ProbeFailure
from ...models import PROBE, Certificate, Event
from ...pki.selection import best, decide
from ...setting_parsers import ProbeAddress
from ..certificates.candidates import Candidates, Found
from ..principal import Principal
from .reports import Report, Reported, TerminatorReports

# The certificates of one run: recently changed ones, and the next ones of all in rotation.
_MOST_RECENT = 50
_MOST_IN_ROTATION = 50
_RECENTLY = timedelta(minutes=10)
_MOST_ERRORS = 100

# Returns the fingerprint that a server serves for a name; raises ProbeFailure. Parameters: host,
# port, name, key type.
Probe = Callable[[str, int, str, str | None], str]
# The expected certificate of each hostname, and the key type to ask for.
_Selected = dict[str, tuple[Found, str | None]]


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
                Event.at > time_param("since"),
                Event.certificate_id.is_not(None),
                Event.active.is_(True),
            )
            .order_by(Event.id.desc())
            .limit(_MOST_RECENT),
            tenant=None,
        )
        self._in_rotation = database.prepare(
            select(Certificate.id, Certificate.hostnames)
            .where(
                Certificate.id > int_param("after"),
                Certificate.active,
                Certificate.chain_pem.is_not(None),
            )
            .order_by(Certificate.id)
            .limit(_MOST_IN_ROTATION),
            tenant=None,
        )

    def run(self) -> int:
        """Probes, and returns the number of hostnames times addresses. Raises Unavailable."""
        selected = self._selected()
        for address in self._addresses:
            self._probe_address(address, selected)
        return len(selected) * len(self._addresses)

    def _selected(self) -> _Selected:
        """Returns the expected certificates of some hostnames, each with the key type to ask for.

        The key type is None unless clients with other key types get another certificate.
        """
        recent = self._recent(since=self._now() - _RECENTLY)
        in_rotation = self._in_rotation(after=self._after)
        self._after = in_rotation[-1][0] if len(in_rotation) == _MOST_IN_ROTATION else 0
        hostnames = [*(row[0] for row in recent), *(row[1] for row in in_rotation)]
        names = dict.fromkeys(_name_to_probe(names_of(column)) for column in hostnames)
        return {name: found for name in names if name and (found := self._selected_for(name))}

    def _selected_for(self, name: str) -> tuple[Found, str | None] | None:
        found = {item.candidate.certificate_id: item for item in self._candidates.served(name)}
        candidates = [item.candidate for item in found.values()]
        selected = decide(name, candidates, self._now()).selected
        chosen = best(name, selected)
        if chosen is None:
            return None
        return found[chosen.certificate_id], chosen.key_type if len(selected) > 1 else None

    def _probe_address(self, address: ProbeAddress, selected: _Selected) -> None:
        served, errors = dict[int, Reported](), list[str]()
        for name, ((candidate, fingerprint), key_type) in selected.items():
            try:
                seen = self._probe(address.host, address.port, name, key_type)
            except ProbeFailure as failure:
                errors.append(f"{name}: {failure}")
                continue
            expected = fingerprint or ""
            if seen != expected:
                errors.append(f"{name}: {seen[:16]}… is served instead of {expected[:16]}…")
            served[candidate.certificate_id] = Reported(
                candidate.certificate_id, candidate.version, expected, seen == expected
            )
        report = Report(
            address.name, PROBE, served=[*served.values()], errors=errors[:_MOST_ERRORS]
        )
        self._reports.store(Principal("command", "probe", ""), report)


def _name_to_probe(hostnames: Sequence[str]) -> str | None:
    """Returns a hostname to ask for; for a wildcard, one that it covers."""
    return next((name.replace("*", "probe", 1) for name in hostnames), None)
