"""Sends one query to all configured resolvers."""

import ipaddress
from collections.abc import Sequence
from typing import Literal, NamedTuple

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.resolver
from dns.message import QueryMessage
from dns.name import Name
from dns.rdatatype import RdataType

from ...errors import Failure
from ...setting_parsers import ResolverAddress
from ..loop import Threads
from ..outbound_http.deadline import Deadline
from ..outbound_http.url import Address

LOOKUP_SECONDS = 5.0
# RFC 9715: the size that fits into a packet on every path. Larger responses use TCP, 64 KiB at
# most.
_UDP_BYTES = 1232
# Seconds to wait for a datagram, as one may be lost.
_UDP_TIMEOUTS = (1.0, 2.0)
_MOST_HOPS = 8
_MOST_SYSTEM_RESOLVERS = 3
_THREADS = Threads("dns", 8)

Kind = Literal["A", "AAAA", "CNAME", "NS", "TXT"]
Outcome = Literal["found", "no_data", "nxdomain"]


class LookupFailed(Failure):
    """A resolver gave no usable response. `detail` names the resolver and the problem."""


class Answer(NamedTuple):
    """The answer of one resolver.

    `names` are the queried name and its aliases. `values` are the records as bytes: texts in one
    piece, names in lower case without a final dot.
    """

    resolver: str
    outcome: Outcome
    names: tuple[str, ...]
    values: tuple[bytes, ...]


class Dns:
    """Queries the configured resolvers, or the system's. Any number of threads may use it."""

    def __init__(
        self, resolvers: Sequence[ResolverAddress] = (), seconds: float = LOOKUP_SECONDS
    ) -> None:
        """`seconds` limits all lookups of one check together."""
        self._resolvers = tuple(resolvers)
        self._seconds = seconds

    def deadline(self) -> Deadline:
        """Returns a new deadline for the lookups of one check."""
        return Deadline(self._seconds)

    def ask(self, name: str, kind: Kind, deadline: Deadline) -> list[Answer]:
        """Returns the answer of each resolver. Raises LookupFailed if one of them gives none."""
        return _THREADS.run(
            lambda: [
                _Question(resolver, RdataType[kind], deadline).answer(name)
                for resolver in self._queried()
            ]
        )

    def ask_one(self, name: str, kind: Kind, deadline: Deadline) -> Answer:
        """Returns the answer of the first resolver, if no proof depends on it.

        Raises LookupFailed.
        """
        return _THREADS.run(
            lambda: _Question(self._queried()[0], RdataType[kind], deadline).answer(name)
        )

    def addresses(self, name: str, deadline: Deadline) -> "Addresses":
        """Returns the addresses of `name`. Raises LookupFailed."""
        answers = [*self.ask(name, "A", deadline), *self.ask(name, "AAAA", deadline)]
        by_resolver: dict[str, set[Address]] = {}
        for answer in answers:
            found = by_resolver.setdefault(answer.resolver, set())
            found |= {ipaddress.ip_address(value.decode()) for value in answer.values}
        sets = list(by_resolver.values())
        return Addresses(
            frozenset(name for answer in answers for name in answer.names),
            frozenset().union(*sets),
            frozenset(sets[0].intersection(*sets)),
        )

    def _queried(self) -> Sequence[ResolverAddress]:
        if self._resolvers:
            return self._resolvers
        # Read each time: the file changes when the machine changes its network.
        try:
            servers = [str(server) for server in dns.resolver.Resolver().nameservers]
        except dns.resolver.NoResolverConfiguration:
            servers = list[str]()
        addresses = [server for server in servers if _is_address(server)]
        if not addresses:
            raise LookupFailed("The system has no DNS resolver. Set CC_DNS_RESOLVERS.")
        return [ResolverAddress(address, 53) for address in addresses[:_MOST_SYSTEM_RESOLVERS]]


class Addresses(NamedTuple):
    """The combined answers.

    `names` are the queried name and all aliases. `from_any` are the records from any resolver, and
    `from_all` those from all of them.
    """

    names: frozenset[str]
    from_any: frozenset[Address]
    from_all: frozenset[Address]


class _Question:
    """One query to one resolver, through as many aliases as necessary."""

    def __init__(self, resolver: ResolverAddress, kind: RdataType, deadline: Deadline) -> None:
        self._resolver = resolver
        self._kind = kind
        self._deadline = deadline
        self._names: list[Name] = []

    def answer(self, name: str) -> Answer:
        """Returns the answer. Raises LookupFailed."""
        self._add_name(dns.name.from_text(name))
        while True:
            response = self._send(self._names[-1])
            self._follow(response)
            values = self._values(response)
            nxdomain = response.rcode() == dns.rcode.NXDOMAIN
            if values:
                return self._answer("found", values)
            # A resolver follows aliases itself. If it stops at an alias, the rest is queried.
            if nxdomain or self._names[-1] == response.question[0].name:
                return self._answer("nxdomain" if nxdomain else "no_data", ())

    def _answer(self, outcome: Outcome, values: tuple[bytes, ...]) -> Answer:
        return Answer(
            str(self._resolver), outcome, tuple(_text(name) for name in self._names), values
        )

    def _add_name(self, name: Name) -> None:
        if name in self._names:
            raise self._failure(f"a CNAME loop at {_text(name)}")
        if len(self._names) > _MOST_HOPS:
            raise self._failure(f"more than {_MOST_HOPS} CNAME records in a row")
        self._names.append(name)

    def _follow(self, response: QueryMessage) -> None:
        """Follows the aliases in the response."""
        if self._kind == RdataType.CNAME:
            return
        while True:
            aliases = response.get_rrset(
                response.answer, self._names[-1], dns.rdataclass.IN, RdataType.CNAME
            )
            if not aliases:
                return
            if len(aliases) > 1:
                raise self._failure(f"several CNAME records at {_text(self._names[-1])}")
            self._add_name(next(iter(aliases)).target)

    def _values(self, response: QueryMessage) -> tuple[bytes, ...]:
        found = response.get_rrset(response.answer, self._names[-1], dns.rdataclass.IN, self._kind)
        if found is None:
            return ()
        match self._kind:
            case RdataType.TXT:
                return tuple(b"".join(record.strings) for record in found)
            case RdataType.CNAME | RdataType.NS:
                return tuple(_text(record.target).encode() for record in found)
            case _:
                return tuple(record.address.encode() for record in found)

    def _send(self, name: Name) -> QueryMessage:
        """Returns a complete response. Raises LookupFailed."""
        query = dns.message.make_query(name, self._kind, use_edns=0, payload=_UDP_BYTES)
        for seconds in _UDP_TIMEOUTS:
            try:
                response, _ = dns.query.udp_with_fallback(
                    query,
                    self._resolver.address,
                    min(seconds, self._deadline.left),
                    self._resolver.port,
                    # Others may send datagrams to the socket, too. Only the resolver's are
                    # accepted.
                    ignore_unexpected=True,
                    ignore_errors=True,
                )
            except (TimeoutError, dns.exception.Timeout):
                continue
            except (OSError, EOFError, dns.exception.DNSException) as error:
                raise self._failure(f"no usable response ({type(error).__name__})") from error
            if response.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                raise self._failure(dns.rcode.to_text(response.rcode()))
            if not isinstance(response, QueryMessage):
                raise self._failure("no response to a query")
            return response
        raise LookupFailed(f"Resolver {self._resolver} did not respond in time.")

    def _failure(self, reason: str) -> LookupFailed:
        return LookupFailed(f"Resolver {self._resolver} answered {reason}.")


def _text(name: Name) -> str:
    """Returns `name` in the form of stored hostnames.

    Other octets than those of hostnames are escaped.
    """
    return name.canonicalize().to_text(omit_final_dot=True)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True
