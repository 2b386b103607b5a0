"""nginx and HAProxy serve the files of an agent."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

from ...agents import EDGES, RunningAgent, start_edge, wait_for
from ...pki.authority import NOW, ec_key, issue, rsa_key
from ...servers import Server
from ...terminators import Terminator, fingerprint
from ..importing.unloadable import KINDS, unloadable
from .feed_stub import Entry, FeedStub, a_feed, entry

WWW, SHOP = "www.example.com", "shop.example.com"


def a(
    number: int,
    *names: str,
    key: CertificateIssuerPrivateKeyTypes | None = None,
    end: timedelta = timedelta(days=90),
    **changes: object,
) -> Entry:
    """A new certificate that expires after `ends`."""
    key = key or ec_key(names[0])
    ends = datetime.now(UTC) + end - NOW
    leaf = issue(names[0], names[0], key=key, signer=key, hostnames=names, end=ends)
    return entry(number, leaf, key, **changes)


def an_address(number: int, address: str) -> Entry:
    """The certificate of an IP address."""
    ends = datetime.now(UTC) + timedelta(days=90) - NOW
    names = [x509.IPAddress(ip_address(address))]
    leaf = issue(address, address, hostnames=names, end=ends)
    return entry(number, leaf, ec_key(address), hostnames=[address])


def of(one: Entry) -> str:
    return str(one["fingerprint_sha256"])


class Fed(NamedTuple):
    """A terminator's host, and its feed."""

    feed: FeedStub
    agent: RunningAgent
    server: Server
    terminator: Terminator

    def wait_for(self, one: Entry, hostname: str) -> None:
        self.terminator.wait_for(hostname, of(one))


@pytest.fixture
def edge(request: pytest.FixtureRequest, folder: Path) -> Iterator[Fed]:
    """One of EDGES."""
    with ExitStack() as stack:
        feed = stack.enter_context(a_feed())
        yield Fed(feed, *start_edge(request.param, feed.url, folder, stack))


every_kind = pytest.mark.parametrize("edge", EDGES, indirect=True)


@every_kind
def test_the_certificates_of_the_feed_are_served(edge: Fed) -> None:
    other = edge.terminator.served(WWW)
    first, shop = a(1, WWW), a(2, SHOP, "*.shop.example.com")
    assert other not in (of(first), of(shop))
    edge.feed.put(first, shop)
    edge.wait_for(first, WWW)
    edge.wait_for(shop, SHOP)
    edge.wait_for(shop, "a.shop.example.com")
    assert edge.terminator.shown_by_openssl(WWW.upper()) == of(first)
    assert edge.terminator.served("a.b.shop.example.com") == other
    assert edge.terminator.served("unknown.example.org") == other

    renewed = [first]
    with edge.terminator.under_constant_handshakes(WWW) as seen:
        for version in (2, 3):
            renewed.append(a(1, WWW, version=version))
            edge.feed.put(renewed[-1])
            edge.wait_for(renewed[-1], WWW)
        # Another certificate for the name, one that ends later.
        renewed.append(a(3, WWW, end=timedelta(days=99)))
        edge.feed.put(renewed[-1])
        edge.wait_for(renewed[-1], WWW)
        edge.feed.remove(3)
        edge.wait_for(renewed[-2], WWW)
    assert set(seen) <= {of(one) for one in renewed}
    assert len(seen) > len(renewed)

    edge.feed.remove(1)
    edge.terminator.wait_for_end(WWW, *map(of, renewed))
    assert edge.terminator.served(WWW) == other
    assert edge.terminator.served(SHOP) == of(shop)


@every_kind
def test_each_client_gets_a_key_type_that_it_supports(edge: Fed) -> None:
    modern, old = a(1, WWW), a(2, WWW, "*.example.com", key=rsa_key())
    edge.feed.put(modern, old)
    edge.wait_for(modern, WWW)
    edge.wait_for(old, SHOP)

    assert _shown(edge.terminator, WWW, "RSA+SHA256:RSA-PSS+SHA256") == of(old)
    assert _shown(edge.terminator, WWW, "ECDSA+SHA256") == of(modern)
    edge.feed.remove(1)
    edge.wait_for(old, WWW)


@every_kind
def test_a_wildcard_is_not_served_for_another_users_name(edge: Fed) -> None:
    """It is not served for a missing key type, or in place of an expired certificate."""
    other = edge.terminator.served(WWW)
    wildcard = a(1, "*.example.com", user_id=1)
    mine = a(2, WWW, user_id=2, key=rsa_key())
    edge.feed.put(wildcard, mine)
    edge.wait_for(wildcard, SHOP)
    edge.wait_for(mine, WWW)
    assert _shown(edge.terminator, WWW, "ECDSA+SHA256:RSA-PSS+SHA256") == of(mine)

    edge.feed.put({**a(2, WWW, user_id=2, version=2, end=timedelta(seconds=-1))})
    edge.terminator.wait_for_end(WWW, of(mine))
    assert edge.terminator.served(WWW) == other
    assert edge.terminator.served(SHOP) == of(wildcard)
    edge.feed.remove(2)
    edge.wait_for(wildcard, WWW)


@every_kind
def test_an_expired_certificate_is_not_served(edge: Fed) -> None:
    """The agent gets no news."""
    longer = a(1, WWW, trust="private")
    edge.feed.put(longer)
    edge.wait_for(longer, WWW)
    brief = a(2, WWW, trust="public", end=timedelta(seconds=6))
    edge.feed.put(brief)
    edge.wait_for(brief, WWW)
    edge.wait_for(longer, WWW)


@every_kind
def test_a_restarted_server_serves_the_same_certificates(edge: Fed) -> None:
    www, shop = a(1, WWW), a(2, SHOP)
    edge.feed.put(www, a(2, SHOP))
    edge.wait_for(www, WWW)
    edge.agent.wait_for(lambda status: status.is_current and status.served == 2)
    edge.server.stop()
    edge.feed.put(shop)
    place = edge.agent.folder / "certificates"

    def written() -> list[str]:
        return [path.read_text() for path in place.rglob("2-*.pem")]

    wait_for(written, lambda found: shop["chain_pem"] in "".join(found), edge.agent.log)
    edge.server.start()

    edge.wait_for(www, WWW)
    edge.wait_for(shop, SHOP)


@every_kind
def test_an_unloadable_certificate_does_not_stop_the_others(edge: Fed, tmp_path: Path) -> None:
    www = a(1, WWW)
    edge.feed.put(www)
    edge.wait_for(www, WWW)
    bad = {
        number: unloadable(kind, number, f"{kind}.example.com", tmp_path)
        for number, kind in enumerate(KINDS, 10)
    }
    other = edge.terminator.served("unknown.example.org")
    renewed, shop = a(1, WWW, version=2), a(2, SHOP)
    edge.feed.put(*bad.values(), renewed, shop)

    edge.wait_for(renewed, WWW)
    edge.wait_for(shop, SHOP)
    status = edge.agent.wait_for(lambda status: len(status.problems) == len(KINDS))
    assert all(KINDS[n] in problem for n, problem in enumerate(status.problems))
    assert status.served == 2
    for kind in KINDS:
        assert edge.terminator.served(f"{kind}.example.com") == other
    # A server that starts again reads nothing else.
    edge.server.stop()
    edge.server.start()
    edge.wait_for(renewed, WWW)
    edge.wait_for(shop, SHOP)

    # A renewal that cannot be loaded leaves the version before; one that can ends the complaint.
    mended = [a(number, f"{KINDS[number - 10]}.example.com", version=2) for number in bad]
    edge.feed.put(*mended, unloadable("rsa-1024", 1, WWW, tmp_path, version=3))
    for one in mended:
        edge.wait_for(one, one["hostnames"][0])
    edge.agent.wait_for(lambda status: len(status.problems) == 1 and status.served == 6)
    edge.wait_for(renewed, WWW)
    said = [
        (one["certificate_id"], one["version"]) for r in edge.feed.reports for one in r["served"]
    ]
    assert set(said) <= {(1, 1), (1, 2), (2, 1), *((number, 2) for number in bad)}


@pytest.mark.parametrize("edge", ["nginx", "haproxy"], indirect=True)
def test_a_client_that_connects_to_an_address_sends_no_name(edge: Fed) -> None:
    """nginx knows the address of the connection. HAProxy does not, and the agent reports that."""
    other = edge.terminator.served(None)
    here, elsewhere, www = an_address(1, "127.0.0.1"), an_address(2, "127.0.0.2"), a(3, WWW)
    edge.feed.put(here, elsewhere, www)
    edge.wait_for(www, WWW)
    edge.agent.wait_for(lambda status: status.is_current and status.certificates == 3)

    reported = {one["certificate_id"] for r in edge.feed.reports for one in r["served"]}
    if "nginx" in edge.agent.command:
        edge.terminator.wait_for(None, of(here))
        assert {1, 2, 3} == reported
        _listen_on_ipv6(edge)
        edge.terminator.wait_for(None, of(here))
    else:
        assert edge.terminator.served(None) == other
        assert {3} == reported


@pytest.mark.parametrize("edge", ["haproxy-runtime"], indirect=True)
def test_haproxy_gets_updates_once_it_responds(edge: Fed) -> None:
    """The files exist before HAProxy starts, so its start needs no agent."""
    www, shop = a(1, WWW), a(2, SHOP)
    edge.feed.put(www)
    edge.wait_for(www, WWW)
    edge.server.pause()
    edge.feed.put(shop)
    crt_list = edge.agent.folder / "crt-list"
    edge.server.kill()
    edge.agent.wait_for(lambda status: "does not respond" in "".join(status.problems))
    wait_for(crt_list.read_text, lambda text: SHOP in text, edge.agent.log)
    edge.agent.kill()
    edge.server.start()

    edge.wait_for(shop, SHOP)


def _listen_on_ipv6(edge: Fed) -> None:
    """nginx on a socket of IPv6 that takes IPv4: its $server_addr is ::ffff:127.0.0.1."""
    configuration = edge.agent.folder.parent / "nginx.conf"
    text = configuration.read_text()
    plain, both = "listen 127.0.0.1:{} ssl", "listen [::ffff:127.0.0.1]:{} ssl ipv6only=off"
    port = edge.terminator.port
    edge.server.kill()
    configuration.write_text(text.replace(plain.format(port), both.format(port)))
    edge.server.start()


def _shown(terminator: Terminator, hostname: str, algorithms: str) -> str:
    target = f"127.0.0.1:{terminator.port} -servername {hostname} -sigalgs {algorithms}"
    ended = subprocess.run(
        f"openssl s_client -connect {target}".split(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )
    return fingerprint(x509.load_pem_x509_certificate(ended.stdout))
