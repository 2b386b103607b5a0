"""Checks a challenge's records in DNS, or its file over HTTP.

Nothing here uses the database: a check takes seconds, and no transaction may wait for it.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import msgspec

from ...field_docs import doc
from ...gateways.dns import Answer, Dns, Edge, LookupFailed
from ...gateways.http_files import FileMissing, HttpFiles, TargetForbidden, TargetUnreachable
from ...gateways.outbound_http.deadline import Deadline
from ...gateways.outbound_http.url import Address

LABEL = "_customer-certificates"
WELL_KNOWN = "/.well-known/customer-certificates/"
_PREFIX = "customer-certificates="
_VALUE = re.compile(rf"{_PREFIX}[0-9a-f]{{32}}".encode())
# RFC 1035, in characters: 255 octets with the lengths of labels and the root.
_MOST_CHARACTERS = 253

Method = Literal["txt", "cname", "http"]
Result = Literal["found", "missing", "unclear", "not_accepted"]


class Seen(msgspec.Struct):
    """The result of a check by one method."""

    method: Annotated[Method, doc("The method that was checked.", "txt")]
    result: Annotated[
        Result,
        doc(
            "found: it proves control of the hostname. missing: it does not exist. "
            "unclear: a resolver or the web server gave no usable answer, or resolvers disagree. "
            "not_accepted: this method cannot prove this hostname now.",
            "missing",
        ),
    ]
    detail: Annotated[
        str,
        doc(
            "What the check saw, in words.",
            f"No TXT record at {LABEL}.a.org; resolver 9.9.9.9 answered NXDOMAIN.",
        ),
    ]


class Tokens(NamedTuple):
    """The random parts of a challenge."""

    txt_token: str
    cname_label: str
    http_token: str


_RecordName = Annotated[str, doc("The name of the record.", f"{LABEL}.www.example.com")]


class DnsRecord(msgspec.Struct):
    """A TXT record to set."""

    name: _RecordName
    value: Annotated[
        str, doc("The text of the record.", f"{_PREFIX}0f8fad5bd9cb469fa16570867728950e")
    ]


class AliasRecord(msgspec.Struct):
    """A CNAME record to set."""

    name: _RecordName
    target: Annotated[
        str,
        doc("The target of the record.", "7c9e6679742540de944be07fc1f90ae7.challenges.example.net"),
    ]


class WebFile(msgspec.Struct):
    """A file to serve over plain HTTP."""

    url: Annotated[
        str,
        doc(
            "The URL of the file.",
            f"http://www.example.com{WELL_KNOWN}16fd2706-8baf-433b-82eb-8c7fada847da",
        ),
    ]
    body: Annotated[str, doc("The content of the whole file. White space around it is ignored.")]


class Records(NamedTuple):
    """The records of a challenge; each proves the hostname by itself.

    None: not possible for this hostname.
    """

    txt: DnsRecord | None
    cname: AliasRecord | None
    http: WebFile | None


class Checked(NamedTuple):
    """The results of a check. `resolves_to_edge` is None if unknown."""

    seen: tuple[Seen, ...]
    resolves_to_edge: bool | None

    @property
    def is_proven(self) -> bool:
        """Returns whether one method has proven the hostname."""
        return any(seen.result == "found" for seen in self.seen)

    @property
    def is_missing(self) -> bool:
        """Returns whether certainly no method proves the hostname."""
        return all(seen.result in ("missing", "not_accepted") for seen in self.seen)


@dataclass(frozen=True, slots=True)
class Checks:
    """Looks up records, and fetches files. Safe to use from any number of threads."""

    dns: Dns
    edge: Edge
    files: HttpFiles
    challenge_domain: str | None

    def records(self, hostname: str, tokens: Tokens) -> Records:
        """Returns the records that prove `hostname`."""
        name = f"{LABEL}.{hostname.removeprefix('*.')}"
        txt = cname = http = None
        if ip_address(hostname) is None and len(name) <= _MOST_CHARACTERS:
            txt = DnsRecord(name, f"{_PREFIX}{tokens.txt_token}")
            if self.challenge_domain:
                cname = AliasRecord(name, f"{tokens.cname_label}.{self.challenge_domain}")
        if not hostname.startswith("*."):
            url = self.files.url(hostname, f"{WELL_KNOWN}{tokens.http_token}")
            # A server that echoes the path in its response does not know the second part.
            http = WebFile(url, f"{tokens.http_token}.{tokens.txt_token}")
        return Records(txt, cname, http)

    def check(self, hostname: str, tokens: Tokens, *, http_refused: str | None) -> Checked:
        """Checks the methods one after another, until one is found.

        `http_refused` says why a file is not accepted; None if it is.
        """
        records = self.records(hostname, tokens)
        deadline = self.dns.deadline()
        seen: list[Seen] = []
        if txt := records.txt:
            seen.append(self._record("txt", txt.name, txt.value, deadline))
        if (cname := records.cname) and not _is_found(seen):
            seen.append(self._record("cname", cname.name, cname.target, deadline))
        file = None if _is_found(seen) else records.http
        addresses = _Addresses((), None, None)
        # Whether the hostname resolves to the edge targets is always recorded.
        if file or self.edge.is_known:
            addresses = self._addresses(hostname, deadline)
        if file:
            seen.append(self._http(hostname, file, addresses, http_refused))
        return Checked(tuple(seen), addresses.is_edge)

    def _record(self, method: Method, name: str, expected: str, deadline: Deadline) -> Seen:
        kind: Literal["TXT", "CNAME"] = "TXT" if method == "txt" else "CNAME"
        try:
            answers = self.dns.ask(name, kind, deadline)
        except LookupFailed as error:
            return Seen(method, "unclear", f"The {kind} record at {name}: {error.detail}")
        return _result(method, name, expected.encode(), answers)

    def _addresses(self, hostname: str, deadline: Deadline) -> "_Addresses":
        address = ip_address(hostname)
        try:
            if address is not None:
                found = agreed = frozenset([address])
                names = frozenset[str]()
            else:
                names, found, agreed = self.dns.addresses(hostname, deadline)
            is_edge = self.edge.has(names, found, deadline) if self.edge.is_known else None
        except LookupFailed as error:
            return _Addresses((), None, Seen("http", "unclear", error.detail))
        problem = None
        if not found:
            problem = Seen("http", "missing", f"{hostname} has no address.")
        elif not agreed:
            disagreement = f"The resolvers disagree about the addresses of {hostname}."
            problem = Seen("http", "unclear", disagreement)
        return _Addresses(tuple(sorted(agreed, key=str)), is_edge, problem)

    def _http(
        self, hostname: str, file: WebFile, addresses: "_Addresses", http_refused: str | None
    ) -> Seen:
        if addresses.is_edge:
            http_refused = (
                f"{hostname} resolves to the servers of this service, so a file there proves "
                "nothing. Use the TXT record."
            )
        if http_refused:
            return Seen("http", "not_accepted", http_refused)
        if addresses.problem:
            return addresses.problem
        path = file.url.partition("//")[2].partition("/")[2]
        try:
            body = self.files.read(hostname, f"/{path}", addresses.agreed)
        except FileMissing as error:
            return Seen("http", "missing", f"No file at {file.url}: {error.detail}.")
        except TargetForbidden as error:
            return Seen("http", "not_accepted", f"{file.url} could not be fetched. {error.detail}")
        except TargetUnreachable as error:
            return Seen("http", "unclear", f"{file.url} could not be read. {error.detail}")
        if body.strip() != file.body.encode():
            return Seen("http", "missing", f"The file at {file.url} has different content.")
        return Seen("http", "found", f"The file at {file.url} was found.")


class _Addresses(NamedTuple):
    """The addresses of a hostname that all resolvers return.

    `problem`: why no file can be fetched there.
    """

    agreed: tuple[Address, ...]
    is_edge: bool | None
    problem: Seen | None


def ip_address(hostname: str) -> Address | None:
    """Returns the IP address in a normalized hostname; None if it is a name."""
    try:
        return ipaddress.ip_address(hostname)
    except ValueError:
        return None


def _is_found(seen: Sequence[Seen]) -> bool:
    return bool(seen) and seen[-1].result == "found"


def _result(method: Method, name: str, expected: bytes, answers: Sequence[Answer]) -> Seen:
    """Returns the result of all resolvers' answers: each must have the record."""
    kind = method.upper()
    lacking = [answer for answer in answers if expected not in answer.values]
    if not lacking:
        return Seen(method, "found", f"The {kind} record at {name} was found.")
    detail = _lack(kind, name, lacking[0])
    if len(lacking) == len(answers):
        return Seen(method, "missing", detail)
    other = next(answer.resolver for answer in answers if expected in answer.values)
    wait = f"Resolver {other} returns the record. Wait for DNS to propagate, or correct the record."
    return Seen(method, "unclear", f"{detail} {wait}")


def _lack(kind: str, name: str, answer: Answer) -> str:
    if answer.outcome == "nxdomain":
        return f"No {kind} record at {name}; resolver {answer.resolver} answered NXDOMAIN."
    if not answer.values:
        return f"No {kind} record at {name}; resolver {answer.resolver} answered with no records."
    count = len(answer.values)
    records = f"{count} {kind} record{'s' if count > 1 else ''}"
    # Other services' values are not shown to the caller.
    ours = [value.decode() for value in answer.values if _VALUE.fullmatch(value)][:3]
    instead = f" It returned {', '.join(ours)}." if ours else ""
    return (
        f"Resolver {answer.resolver} answered with {records} at {name}, none of them the "
        "expected one." + instead
    )
