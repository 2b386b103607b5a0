"""A real DNS server, Knot, whose records tests change over the network."""

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.update

from customer_certificates.gateways.dns import Dns
from customer_certificates.setting_parsers import ResolverAddress

from .parallel import NUMBER
from .servers import Server, free_port

# Names of tests are in the first. The others are domains on the same server, which is 127.0.0.1.
ZONE, OTHER_ZONE, THIRD_ZONE = "example", "elsewhere.test", "another.test"
# It has no file, so whatever is asked below it is answered SERVFAIL.
BROKEN_ZONE = "broken.test"
_TTL = 1
_START = """\
$TTL 1
@ SOA ns admin 1 3600 600 86400 1
@ NS ns
ns A 127.0.0.1
"""
_CONFIGURATION = """\
server:
    rundir: "{folder}"
    listen: 127.0.0.1@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: "{folder}/database"
log:
  - target: stderr
    any: notice
acl:
  - id: tests
    address: 127.0.0.1
    action: update
template:
  - id: default
    storage: "{folder}"
    acl: tests
    zonefile-sync: -1
    journal-content: none
    zonefile-load: whole
zone:
  - domain: example
  - domain: elsewhere.test
  - domain: another.test
  - domain: broken.test
"""


_NUMBERS = count(1)


def unused_label() -> str:
    """A label for a name that no other test uses: the processes of a run share the server."""
    return f"t{NUMBER}-{next(_NUMBERS)}"


def knot_program() -> str | None:
    """The path of Knot's server; None: it is not installed."""
    # Not all machines have servers in everybody's PATH.
    return shutil.which("knotd", path=f"{os.environ['PATH']}:/usr/sbin")


def start_knot(folder: Path) -> Server:
    """Starts Knot with empty zones that every client on this machine may change."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    configuration = folder / "knot.conf"
    configuration.write_text(_CONFIGURATION.format(folder=folder, port=port))
    for zone in (ZONE, OTHER_ZONE, THIRD_ZONE):
        (folder / f"{zone}.zone").write_text(_START)

    def is_ready(_: int) -> bool:
        query = dns.message.make_query(OTHER_ZONE, "SOA")
        with suppress(OSError, dns.exception.DNSException):
            answered = dns.query.tcp(query, "127.0.0.1", timeout=1, port=port)
            return answered.rcode() == dns.rcode.NOERROR
        return False

    return Server(
        f"127.0.0.1:{port}",
        [str(knot_program()), "--config", str(configuration)],
        folder / "log",
        is_ready,
    )


class DnsServer:
    """The server at `address`, as tests change it."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.address = address
        self.resolver = ResolverAddress(host, int(port))

    def set(self, name: str, kind: str, *values: str) -> None:
        """Has `name` have these records of this kind, and no others of it."""
        update = dns.update.Update(OTHER_ZONE if name.endswith(OTHER_ZONE) else ZONE)
        absolute = dns.name.from_text(name)
        update.delete(absolute, kind)
        for value in values:
            update.add(absolute, _TTL, kind, value)
        self._send(update)

    def set_text(self, name: str, *texts: str | Sequence[str]) -> None:
        """The same for TXT records; one that is given in parts has several strings."""
        parts = [[text] if isinstance(text, str) else text for text in texts]
        self.set(name, "TXT", *(" ".join(f'"{part}"' for part in text) for text in parts))

    def delete(self, name: str) -> None:
        """Removes all records of `name`."""
        update = dns.update.Update(OTHER_ZONE if name.endswith(OTHER_ZONE) else ZONE)
        update.delete(dns.name.from_text(name))
        self._send(update)

    def client(self, *more: ResolverAddress, seconds: float = 5.0) -> Dns:
        """The resolver that asks this server, and `more`."""
        return Dns([self.resolver, *more], seconds)

    def _send(self, update: dns.update.UpdateMessage) -> None:
        response = dns.query.tcp(update, self.resolver.address, timeout=30, port=self.resolver.port)
        if response.rcode() != dns.rcode.NOERROR:
            raise RuntimeError(f"The update was answered {dns.rcode.to_text(response.rcode())}.")
