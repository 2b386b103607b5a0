"""The service and `openssl verify` say the same of random PKIs, but for the listed differences.

`--pkis 20000` compares more of them, `--first-pki N` begins at the seed N.
"""

from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from falcon.testing import TestClient
from sqlalchemy import Engine

from customer_certificates.app import create_app
from customer_certificates.gateways.metrics import Metrics
from customer_certificates.gateways.sandbox.pool import SandboxPool
from customer_certificates.pki.chain.completion import Roots
from customer_certificates.pki.examination import Examiner, Request, decode, encode, examine
from customer_certificates.pki.submission import Submission

from ..conftest import Backend
from ..factories import a_user
from .differences import differences
from .generator import make, pem
from .roots import NOW, all_roots

# The seeds are shared out among the processes of a run in this many parts.
PARTS = 10


# Over HTTP, every tenth is enough: what a request adds does not depend on the PKI.
ONE_IN = 10


def roots_pem() -> str:
    return "".join(pem(one.certificate) for one in all_roots())


@pytest.fixture(scope="module")
def roots() -> Roots:
    return Roots.from_pem(roots_pem().encode())


@pytest.fixture(scope="module")
def own_children() -> Iterator[SandboxPool]:
    """The sandbox, with the roots of the generator."""
    count = Metrics(None).sandbox_ended
    with closing(SandboxPool(Examiner, roots_pem().encode(), size=1, on_exit=count)) as children:
        yield children


@pytest.mark.parametrize("part", range(PARTS))
def test_openssl_says_the_same(
    part: int, own_children: SandboxPool, roots: Roots, pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    first, count = pytestconfig.getoption("--first-pki"), pytestconfig.getoption("--pkis")
    found = []
    for seed in range(first + part, first + count, PARTS):
        pki = make(seed)
        material = Submission(body=pki.body, private_key=pki.private_key)
        in_sandbox = decode(own_children.run(encode(Request(material, NOW))))
        if in_sandbox != examine(material, NOW, roots):
            found.append(f"{pki}: the sandbox and this process disagree")
        found += [f"{pki}: {one}" for one in differences(pki, in_sandbox, NOW, tmp_path)]

    assert not found, "\n".join(found)


@pytest.mark.one_backend
def test_the_route_answers_what_was_found(
    backend: Backend, engine: Engine, roots: Roots, pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    (tmp_path / "roots").write_text(roots_pem())
    first, count = pytestconfig.getoption("--first-pki"), pytestconfig.getoption("--pkis")
    with closing(
        create_app(backend.config(CC_CA_BUNDLE=str(tmp_path / "roots")), lambda: NOW)
    ) as app:
        client = TestClient(app, headers={"Host": "localhost:9000"})
        user = client.simulate_post("/users", json=a_user()).json["id"]
        for seed in range(first, first + count, ONE_IN):
            pki = make(seed)
            upload = {"body": pki.body, "private_key": b64encode(pki.private_key).decode()}
            answer = client.simulate_post(f"/users/{user}/certificates/check", json=upload).json
            found = examine(Submission(body=pki.body, private_key=pki.private_key), NOW, roots)

            assert (answer["trust"], answer["chain_pem"]) == (found.trust, found.chain_pem), pki
            assert [one["code"] for one in answer["findings"]] == [
                one.code for one in found.findings
            ], pki
