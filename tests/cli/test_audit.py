"""The commands of the audit log, and the exports of `serve`."""

import json
import stat
from pathlib import Path

import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from customer_certificates.crypto.ed25519 import Signer, new_key
from customer_certificates.gateways.files.audit_files import private_key

from ..conftest import Backend
from ..factories import a_user
from ..service import Service, run


@pytest.fixture
def settings(backend: Backend, tmp_path: Path) -> dict[str, str]:
    """Settings for the database, with a master key of the test."""
    (key := tmp_path / "audit.pem").write_bytes(new_key())
    return {**backend.settings, "CC_AUDIT_KEY_FILE": str(key)}


def change(engine: sa.Engine, statement: str) -> None:
    with engine.begin() as connection:
        assert connection.execute(sa.text(statement)).rowcount > 0


def test_verify_names_each_tampered_entry(
    settings: dict[str, str], client: TestClient, engine: sa.Engine, owner: int, stranger: int
) -> None:
    for number in range(5):
        client.simulate_patch(f"/users/{owner}", json={"name": f"Name {number}"})
    whole = run("audit verify", settings)
    assert (whole.returncode, whole.stdout) == (
        0,
        "Chains: 2. Entries: 7. Signed heads: 0. Faults: 0.\n",
    )

    change(engine, f"UPDATE audit SET peer = '192.0.2.9' WHERE chain = {owner} AND seq = 4")
    found = run("audit verify", settings)
    assert found.returncode == 1
    assert found.stdout.splitlines()[0] == f"Chain {owner}, seq 4: The entry was changed."
    assert run(f"audit verify --user {stranger}", settings).returncode == 0
    found = run(f"audit verify --user {owner} --json", settings)
    assert found.returncode == 1
    assert json.loads(found.stdout)["faults"]


def test_signed_heads_reveal_a_truncated_chain(
    settings: dict[str, str], client: TestClient, engine: sa.Engine, owner: int, tmp_path: Path
) -> None:
    client.simulate_patch(f"/users/{owner}", json={"name": "Ada"})
    out = tmp_path / "heads"
    exported = run(f"audit export --out {out}", settings)
    assert exported.returncode == 0, exported.stderr
    file = Path(exported.stdout.strip())
    first, line = file.read_text().splitlines()
    assert json.loads(first)["number"] == 1
    assert json.loads(line).keys() == {"chain", "seq", "hash", "at", "signature"}
    assert run(f"audit verify --heads {out}", settings).returncode == 0

    change(engine, f"DELETE FROM audit WHERE chain = {owner} AND seq = 2")
    change(
        engine,
        "UPDATE audit_heads SET (seq, hash, at) = (SELECT seq, hash, at FROM audit"
        f" WHERE chain = {owner} AND seq = 1) WHERE chain = {owner}",
    )
    assert run("audit verify", settings).returncode == 0
    for heads in (f"--heads {out}", f"--heads {file} --public-key {out}/audit-public-key.pem"):
        found = run(f"audit verify {heads}", settings)
        assert found.returncode == 1
        assert f"Chain {owner}, seq 2: Entries are missing" in found.stdout


def test_heads_signed_with_another_key_are_rejected(
    settings: dict[str, str], client: TestClient, owner: int, tmp_path: Path
) -> None:
    out = tmp_path / "heads"
    run(f"audit export --out {out}", settings)
    Path(settings["CC_AUDIT_KEY_FILE"]).write_bytes(new_key())
    found = run(f"audit verify --heads {out}", settings)

    assert found.returncode == 1
    assert "A head that this key did not sign: {" in found.stdout


def test_init_creates_a_key_that_only_its_owner_can_read(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    made = private_key(folder, new_key())
    assert private_key(folder, new_key()) == made
    Signer(made)
    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("audit export --out {folder}/open", "chmod 600"),
        ("audit export --out {folder}/a-file/out", "cannot be written to"),
        ("audit verify --heads {folder}/a-file --public-key {folder}/a-file", "public key"),
        ("audit verify --heads {folder}/a-file", "cannot be read"),
    ],
)
def test_an_unusable_setting_stops_the_command_with_a_sentence(
    settings: dict[str, str], tmp_path: Path, command: str, named: str
) -> None:
    (tmp_path / "a-file").write_bytes(b"\xff")
    if "open" in command:
        del settings["CC_AUDIT_KEY_FILE"]
        settings["CC_DATABASE_URL"] = settings.get(
            "CC_DATABASE_URL", f"sqlite:///{settings['CC_DATA_DIR']}/customer-certificates.sqlite3"
        )
        settings["CC_DATA_DIR"] = str(tmp_path / "data")
        private_key(tmp_path / "data", new_key())
        (tmp_path / "data" / "audit-key.pem").chmod(0o644)
    ended = run(command.format(folder=tmp_path), settings)

    assert ended.returncode == 2
    target, error = ended.stderr.splitlines()
    assert target.startswith("customer-certificates: profile tst, database ")
    assert named in error


@pytest.mark.one_backend
@pytest.mark.usefixtures("engine")
def test_the_service_exports_heads_at_start_and_stop(
    settings: dict[str, str], tmp_path: Path
) -> None:
    settings["CC_AUDIT_EXPORT_DIR"] = str(tmp_path / "heads")
    service = Service({**settings, "CC_WORKERS": "1"}, tmp_path / "log")
    try:
        with service.client() as client:
            user = client.post("/users", json=a_user()).json()["id"]
        assert service.stop() == 0
    finally:
        service.kill()
    files = sorted((tmp_path / "heads").glob("heads-*.jsonl"))
    chains = {json.loads(line)["chain"] for line in files[-1].read_text().splitlines()[1:]}

    assert len(files) == 2
    assert user in chains
    assert run(f"audit verify --heads {tmp_path / 'heads'}", settings).returncode == 0


@pytest.mark.usefixtures("engine")
def test_purge_prints_counts(settings: dict[str, str]) -> None:
    ended = run("purge", settings)

    assert (ended.returncode, ended.stdout) == (
        0,
        "Purged idempotency records: 0.\nCorrected quota counters: 0.\n"
        "Corrected summary counters: 0.\n",
    )
