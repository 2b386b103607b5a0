"""Lookups on a real DNS server, and on one with wrong responses."""

import dns.message
import dns.rrset
import pytest
from dns.message import Message

from customer_certificates.gateways.dns import Dns, Edge, LookupFailed

from ...dns_server import BROKEN_ZONE, OTHER_ZONE, DnsServer, unused_label
from ..resolver_stub import ResolverStub


@pytest.fixture
def name() -> str:
    return f"{unused_label()}.lookups.example"


def texts(client: Dns, name: str) -> list[tuple[bytes, ...]]:
    return [answer.values for answer in client.ask(name, "TXT", client.deadline())]


def failure(client: Dns, name: str) -> str:
    with pytest.raises(LookupFailed) as failed:
        client.ask(name, "TXT", client.deadline())
    return failed.value.detail


def test_all_records_of_a_name_are_found(dns_server: DnsServer, name: str) -> None:
    dns_server.set_text(name, "one", "two")

    (values,) = texts(dns_server.client(), name)

    assert set(values) == {b"one", b"two"}


def test_a_text_in_several_strings_is_one_text(dns_server: DnsServer, name: str) -> None:
    dns_server.set_text(name, ["a" * 255, "b" * 255, "c"])

    assert texts(dns_server.client(), name) == [(b"a" * 255 + b"b" * 255 + b"c",)]


def test_an_answer_that_fits_no_datagram_comes_over_tcp(dns_server: DnsServer, name: str) -> None:
    many = [f"{number}-{'x' * 200}" for number in range(40)]
    dns_server.set_text(name, *many)

    (values,) = texts(dns_server.client(), name)

    assert set(values) == {text.encode() for text in many}


def test_nxdomain_and_no_data_are_distinguished(dns_server: DnsServer, name: str) -> None:
    dns_server.set(name, "A", "192.0.2.1")
    client = dns_server.client()

    outcomes = [
        client.ask(asked, "TXT", client.deadline())[0].outcome for asked in (name, f"no.{name}")
    ]

    assert outcomes == ["no_data", "nxdomain"]


def test_an_alias_is_followed_into_another_zone(dns_server: DnsServer, name: str) -> None:
    """The server answers with the alias alone."""
    target = f"{name.partition('.')[0]}.{OTHER_ZONE}"
    dns_server.set(name, "CNAME", f"{target}.")
    dns_server.set_text(target, "there")
    client = dns_server.client()

    (answer,) = client.ask(name, "TXT", client.deadline())

    assert (answer.names, answer.values) == ((name, target), (b"there",))


def test_a_cname_record_itself_can_be_queried(dns_server: DnsServer, name: str) -> None:
    dns_server.set(name, "CNAME", "Label.Challenges.Test.")
    client = dns_server.client()

    (answer,) = client.ask(name, "CNAME", client.deadline())

    assert answer.values == (b"label.challenges.test",)


def test_a_loop_of_aliases_is_a_failure(dns_server: DnsServer, name: str) -> None:
    dns_server.set(name, "CNAME", f"b.{name}.")
    dns_server.set(f"b.{name}", "CNAME", f"{name}.")

    assert "CNAME loop" in failure(dns_server.client(), name)


def test_a_long_chain_of_aliases_is_a_failure(dns_server: DnsServer, name: str) -> None:
    for number in range(12):
        dns_server.set(f"c{number}.{name}", "CNAME", f"c{number + 1}.{name}.")

    assert "more than 8 CNAME records" in failure(dns_server.client(), f"c0.{name}")


def test_an_error_of_the_resolver_is_a_failure(dns_server: DnsServer) -> None:
    assert failure(dns_server.client(), f"a.{BROKEN_ZONE}") == (
        f"Resolver {dns_server.address} answered SERVFAIL."
    )
    assert "REFUSED" in failure(dns_server.client(), "a.example.org")


def test_a_resolver_that_does_not_answer_is_a_failure(dns_server: DnsServer, name: str) -> None:
    dns_server.set_text(name, "one")
    with ResolverStub() as silent:
        client = dns_server.client(silent.address, seconds=0.3)

        assert failure(client, name) == f"Resolver {silent.address} did not respond in time."


def test_a_lost_datagram_is_sent_again(name: str) -> None:
    def reply(query: Message) -> bytes | None:
        if len(stub.queries) == 1:
            return None
        response = dns.message.make_response(query)
        response.answer.append(dns.rrset.from_text(query.question[0].name, 1, "IN", "TXT", "one"))
        return response.to_wire()

    with ResolverStub(reply) as stub:
        assert texts(Dns([stub.address]), name) == [(b"one",)]


def test_a_forged_answer_does_not_count(name: str) -> None:
    """The response has another ID than the query."""

    def forge(query: Message) -> bytes:
        response = dns.message.make_response(query)
        response.id = query.id ^ 1
        response.answer.append(dns.rrset.from_text(query.question[0].name, 1, "IN", "TXT", "one"))
        return response.to_wire()

    with ResolverStub(forge) as stub:
        assert "did not respond in time" in failure(Dns([stub.address], seconds=0.3), name)


def test_an_answer_to_another_question_does_not_count(name: str) -> None:
    """The owner of the records is another name."""

    def reply(query: Message) -> bytes:
        response = dns.message.make_response(query)
        response.answer.append(dns.rrset.from_text("other.example.", 1, "IN", "TXT", "one"))
        return response.to_wire()

    with ResolverStub(reply) as stub:
        assert texts(Dns([stub.address]), name) == [()]


def test_each_resolver_answers_for_itself(dns_server: DnsServer, name: str) -> None:
    dns_server.set_text(name, "one")
    with ResolverStub(lambda query: dns.message.make_response(query).to_wire()) as other:
        assert texts(dns_server.client(other.address), name) == [(b"one",), ()]


def test_addresses_on_which_resolvers_agree(dns_server: DnsServer, name: str) -> None:
    dns_server.set(name, "A", "192.0.2.1", "192.0.2.2")
    dns_server.set(name, "AAAA", "2001:db8::1")

    def reply(query: Message) -> bytes:
        response = dns.message.make_response(query)
        if query.question[0].rdtype == 1:
            asked = query.question[0].name
            response.answer.append(dns.rrset.from_text(asked, 1, "IN", "A", "192.0.2.1"))
        return response.to_wire()

    with ResolverStub(reply) as other:
        client = dns_server.client(other.address)
        found = client.addresses(name, client.deadline())

    assert sorted(map(str, found.from_any)) == ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
    assert sorted(map(str, found.from_all)) == ["192.0.2.1"]


@pytest.mark.parametrize("by", ["name", "address", "address of the name"])
def test_a_name_resolves_to_the_edge(dns_server: DnsServer, name: str, by: str) -> None:
    edge, address = f"edge.{name}", "198.51.100.1"
    if by != "address":
        dns_server.set(edge, "A", address)
    if by == "name":
        dns_server.set(name, "CNAME", f"{edge}.")
    else:
        dns_server.set(name, "A", address)
    client = dns_server.client()
    targets = [address] if by == "address" else [edge]

    def leads(asked: str) -> bool:
        found = client.addresses(asked, client.deadline())
        return Edge(client, targets).has(found.names, found.from_any, client.deadline())

    dns_server.set(f"not.{name}", "A", "203.0.113.9")
    assert (leads(name), leads(f"not.{name}")) == (True, False)
