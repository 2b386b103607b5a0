"""The command `find`, beside a running service."""

import json
from collections.abc import Sequence

import httpx
import pytest
from typer.testing import CliRunner

from customer_certificates.cli import app

from ..factories import a_user, an_upload
from ..service import Service


def typed(service: Service, *words: str) -> tuple[int, str, str]:
    """Returns the exit code, the output and the errors."""
    result = CliRunner().invoke(app, ["find", "--server", service.url, *words])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def stored(service: Service) -> list[int]:
    """Certificates of a user with an external id; the second one has a label."""
    with httpx.Client(base_url=service.url) as http:
        user = http.post("/users", json=a_user(external_id="crm-1")).json()["id"]
        return [
            http.post(
                f"/users/{user}/certificates", json=an_upload(f"{name}.example", labels=labels)
            ).json()["id"]
            for name, labels in (("a", {}), ("b", {"env": "test"}), ("c", {}))
        ]


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], [0, 1, 2]),
        (["--hostname", "B.example"], [1]),
        (["--label", "env=test", "--label", "env=test"], [1]),
        (["--label", "env=test", "--label", "team=a"], []),
        (["--external-id", "crm-1", "--status", "inactive", "--servable"], [0, 1, 2]),
        (["--not-servable"], []),
        (["--expires-before", "0d"], []),
        (["--expires-after", "0d", "--expires-before", "2999-01-01"], [0, 1, 2]),
        (["--trust", "public"], []),
        (["--limit", "2"], [0, 1]),
    ],
    ids=str,
)
def test_certificates_of_all_users_are_found(
    service: Service, stored: list[int], words: Sequence[str], expected: list[int]
) -> None:
    code, out, errors = typed(service, *words, "--json")

    assert (code, sorted(one["id"] for one in json.loads(out))) == (
        0,
        [stored[n] for n in expected],
    )
    assert ("more than 2 certificates" in errors) == ("--limit" in words)


@pytest.mark.one_backend
def test_a_table_shows_them(service: Service, stored: list[int]) -> None:
    code, out, _ = typed(service)
    few, shown, _ = typed(service, "--hostname", "a.example")

    assert (code, few) == (0, 0)
    assert out.endswith("3 certificates found.\n")
    assert shown.endswith("1 certificate found.\n")
    for text in (str(stored[0]), "(crm-1)", "a.example", "inactive", "yes"):
        assert text in shown


@pytest.mark.one_backend
def test_a_wrong_condition_is_told(service: Service) -> None:
    code, _, errors = typed(service, "--expires-before", "soon")
    gone = CliRunner().invoke(app, ["find", "--server", "http://127.0.0.1:1"])

    assert (code, gone.exit_code) == (2, 2)
    assert "1 query parameter is invalid" in errors
