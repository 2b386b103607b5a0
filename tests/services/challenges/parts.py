"""The parts of challenges, put together as the service does, on the tests' DNS server."""

import ipaddress
from collections.abc import Callable, Sequence
from datetime import datetime

from customer_certificates.gateways.database import Database
from customer_certificates.gateways.dns import Dns, Edge
from customer_certificates.gateways.http_files import HttpFiles
from customer_certificates.gateways.outbound_http import Outbound
from customer_certificates.pki.names.policy import NamePolicy
from customer_certificates.services.audit.log import Audit
from customer_certificates.services.challenges.checks import Checks
from customer_certificates.services.challenges.contests import Contests
from customer_certificates.services.challenges.limits import CheckLimits
from customer_certificates.services.challenges.proving import Proving
from customer_certificates.services.challenges.rounds import ChallengeRounds
from customer_certificates.services.challenges.service import Challenges
from customer_certificates.services.challenges.views import ChallengeView
from customer_certificates.services.events.log import Events
from customer_certificates.services.hostnames.notice_delivery import HostnameNoticeDelivery
from customer_certificates.services.hostnames.ownership import Hostnames, OwnershipRules
from customer_certificates.services.principal import Principal
from customer_certificates.services.revisions import Revisions
from customer_certificates.setting_parsers import ResolverAddress

from ...dns_server import DnsServer
from ...factories import a_pair

ROOTS = a_pair("nobody.example").body.encode()
DOMAIN = "challenges.test"
_PRINCIPAL = Principal("operator", "1", "")


class Parts:
    """Challenges, the worker's rounds, and shorthands for tests."""

    def __init__(
        self,
        database: Database,
        dns_server: DnsServer,
        now: Callable[[], datetime],
        *,
        resolvers: Sequence[ResolverAddress] = (),
        edge: Sequence[str] = (),
        port: int = 80,
        domain: str | None = DOMAIN,
        seconds: float = 5.0,
    ) -> None:
        """`resolvers` are asked besides the server; `port` is where web servers answer."""
        dns = Dns([dns_server.resolver, *resolvers], seconds)
        outbound = Outbound(
            https_only=False,
            allowed=[ipaddress.ip_network("127.0.0.0/8")],
            own=[],
            roots_pem=ROOTS,
            seconds=seconds,
        )
        rules = OwnershipRules(NamePolicy(edge=edge), proof_required=False)
        checks = Checks(dns, Edge(dns, edge), HttpFiles(outbound, port), domain)
        audit = Audit(database, now)
        self.dns_server = dns_server
        self.hostnames = Hostnames(database, now, rules)
        self._delivery = HostnameNoticeDelivery(
            database, Revisions(database, now), audit, Events(database, now)
        )
        self.limits = CheckLimits(database, dns, now)
        proving = Proving(database, checks, self.hostnames, audit, now)
        self.rounds = ChallengeRounds(database, proving, self.limits, now)
        self.contests = Contests(database, now)
        self.challenges = Challenges(
            database, checks, proving, self.limits, rules, audit, now, concurrent_checks=2
        )

    def create(self, user_id: int, hostname: str) -> ChallengeView:
        view, _ = self.challenges.create(_PRINCIPAL, user_id, hostname)
        return view

    def verify(self, user_id: int, hostname: str) -> ChallengeView:
        return self.challenges.verify(_PRINCIPAL, user_id, hostname)

    def delete(self, user_id: int, hostname: str) -> None:
        self.challenges.delete(_PRINCIPAL, user_id, hostname)

    def set_text(self, *views: ChallengeView) -> None:
        """Sets the TXT records of challenges for one name, and removes others there."""
        records = [view.txt for view in views if view.txt]
        self.dns_server.set_text(records[0].name, *(record.value for record in records))

    def prove(self, user_id: int, hostname: str) -> ChallengeView:
        """Has the user alone prove the hostname."""
        self.set_text(self.create(user_id, hostname))
        return self.verify(user_id, hostname)

    def work(self) -> int:
        """Runs the checks that are due, as a worker does."""
        number = self.rounds.run()
        self.rounds.wait()
        return number

    def notify(self) -> None:
        """Does what a worker does with the outbox."""
        self._delivery.run()

    def close(self) -> None:
        self.rounds.close()
