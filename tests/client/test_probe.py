"""The command `probe` compares served and expected certificates."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from customer_certificates.cli.terminators import probe
from customer_certificates.client.probe_address import Address, read_address

from ..agents import Edge, start_edge
from ..factories import a_pair, a_user, an_upload
from ..service import Service

WWW = "www.example.com"
COMMANDS = typer.Typer()
COMMANDS.command()(probe)


@pytest.fixture
def edge(service: Service, folder: Path) -> Iterator[Edge]:
    with ExitStack() as stack:
        yield start_edge("haproxy-runtime", service.url, folder, stack)


def probed(service: Service, *words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(COMMANDS, [*words, "--server", service.url])
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.one_backend
def test_probe_compares_served_and_expected_certificates(service: Service, edge: Edge) -> None:
    """It compares each key type, and reports to the service."""
    address = f"127.0.0.1:{edge.terminator.port}"
    with service.client() as client:
        user = f"/users/{client.post('/users', json=a_user()).json()['id']}"
        path = f"{user}/certificates"
        rsa = a_pair(WWW, "RSA-2048")
        ids = [
            client.post(path, json=upload).raise_for_status().json()["id"]
            for upload in (
                an_upload(WWW, active=True),
                {"body": rsa.body, "private_key": rsa.private_key, "active": True},
            )
        ]
        edge.agent.wait_for(lambda status: status.is_current and status.served == 2)

        code, shown, _ = probed(service, address, "--hostname", WWW)
        assert (code, shown.count(" served")) == (0, 2)
        for number in ids:
            states = client.get(f"{path}/{number}").json()["serving"]
            assert {one["terminator"]: one["verified"] for one in states}[address] is True

        code, shown, _ = probed(service, address, "--hostname", WWW, "--json")
        assert code == 0
        assert {one["expected"]["certificate_id"] for one in json.loads(shown)} == {*ids}

        edge.agent.kill()
        client.delete(f"{path}/{ids[0]}").raise_for_status()
        client.post(path, json=an_upload("*.example.com", active=True)).raise_for_status()
        code, shown, _ = probed(service, address, "--hostname", WWW, "--hostname", "b.example.com")
        assert code == 1
        assert (shown.count(" served"), shown.count("lags")) == (1, 2)
        (seen,) = [one for one in client.get("/terminators").json() if one["name"] == address]
        assert len(seen["errors"]) == 2


@pytest.mark.one_backend
def test_probe_reports_a_server_that_does_not_respond(service: Service) -> None:
    with service.client() as client:
        user = f"/users/{client.post('/users', json=a_user()).json()['id']}"
        client.post(f"{user}/certificates", json=an_upload(WWW, active=True)).raise_for_status()

    code, shown, _ = probed(service, "127.0.0.1:1", "--hostname", WWW)
    assert code == 1
    assert "fails Connection refused" in shown
    code, shown, _ = probed(service, "127.0.0.1:1", "--hostname", "unknown.example.org")
    assert code == 1
    assert "There is no active certificate for this hostname" in shown


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("www.example.com", Address("www.example.com", 443)),
        ("192.0.2.1:8443", Address("192.0.2.1", 8443)),
        ("[2001:db8::1]:8443", Address("2001:db8::1", 8443)),
        ("2001:db8::1", Address("2001:db8::1", 443)),
    ],
)
def test_addresses_are_parsed(text: str, address: Address) -> None:
    assert read_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":443",
        "a:b",
        "a:0",
        "a:65536",
        "a:443443",
        "[::1]:x",
        "[::1",
        "[a.example]:443",
        "::g",
        "999.1.1.1",
        "192.0.2",
        "a b",
        "a-.example",
        "a..example",
        "a.example/path",
        "https://a.example",
        "user@a.example",
        "münchen.example",
    ],
)
def test_an_invalid_address_is_rejected(text: str) -> None:
    result = CliRunner().invoke(COMMANDS, [text])

    assert result.exit_code == 2
    assert "is not an address" in result.stderr
