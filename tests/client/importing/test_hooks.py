"""The hooks of deploy/hooks, with the variables that each ACME client sets."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ...factories import a_user
from ...service import Service
from .trees import Issued, issued, write

pytestmark = pytest.mark.one_backend("sqlite")

HOOKS = Path(__file__).parents[3] / "deploy/hooks"
# The files that a client writes, and the variables that name them.
CERTBOT = ("fullchain.pem", "privkey.pem", {"RENEWED_LINEAGE": "."})
LEGO = (
    "certificates/{name}.crt",
    "certificates/{name}.key",
    {
        "LEGO_CERT_DOMAIN": "{name}",
        "LEGO_CERT_PATH": "certificates/{name}.crt",
        "LEGO_CERT_KEY_PATH": "certificates/{name}.key",
    },
)
ACME_SH = (
    "fullchain.cer",
    "{name}.key",
    {
        "CERT_PATH": "{name}.cer",
        "CERT_KEY_PATH": "{name}.key",
        "CA_CERT_PATH": "ca.cer",
        "CERT_FULLCHAIN_PATH": "fullchain.cer",
    },
)


@pytest.mark.parametrize(
    ("hook", "client"),
    [("certbot", CERTBOT), ("lego", LEGO), ("acme.sh", ACME_SH)],
    ids=("certbot", "lego", "acme.sh"),
)
def test_a_hook_uploads_a_certificate_and_replaces_it_after_a_renewal(
    service: Service, tmp_path: Path, hook: str, client: tuple[str, str, dict[str, str]]
) -> None:
    name = f"{hook}.example.com"
    first, renewed = issued(name, days=30), issued(name, days=60, version=2)
    with service.client() as http:
        user = http.post("/users", json=a_user()).json()["id"]
        write(
            tmp_path,
            {
                "hook.env": f"CUSTOMER_CERTIFICATES_URL={service.url}\n"
                f"CUSTOMER_CERTIFICATES_USER={user}\n"
                f"PATH={Path(sys.executable).parent}:$PATH\n"
            },
        )
        printed = [_run(hook, client, tmp_path, name, one) for one in (first, renewed)]
        (stored,) = http.get(f"/users/{user}/certificates").json()

    assert (stored["version"], stored["active"]) == (2, True)
    assert stored["body"] == renewed.pem.decode()
    assert f"uploaded #{stored['id']}, active" in printed[0]
    assert f"renewed #{stored['id']}, active" in printed[1]


def _run(
    hook: str, client: tuple[str, str, dict[str, str]], folder: Path, name: str, one: Issued
) -> str:
    """Writes the files of a certificate, and runs the hook. Returns its output."""
    certificate, key, variables = client
    places = {
        certificate.format(name=name): one.pem + one.chain,
        key.format(name=name): one.key_pem,
    }
    write(folder / "acme", places)
    own = {
        variable: value.format(name=name)
        if variable == "LEGO_CERT_DOMAIN"
        else str(folder / "acme" / value.format(name=name))
        for variable, value in variables.items()
    }
    settings = {"CUSTOMER_CERTIFICATES_HOOK_ENV": str(folder / "hook.env")}
    done = subprocess.run(
        [HOOKS / hook],
        env={**os.environ, **settings, **own},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
