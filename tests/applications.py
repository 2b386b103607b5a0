"""Applications in the time of the test CA, which tests move."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from customer_certificates.app import create_app

from .conftest import Backend
from .pki import authority
from .resources import pem


class Clock:
    """The clock of the application: at the time of the test CA, until a test moves it."""

    def __init__(self) -> None:
        self.now = authority.NOW

    def __call__(self) -> datetime:
        return self.now


class Apps:
    """The application that reports, the one that enforces, and the one that reports and requires
    proof of hostnames; all trust the authority «Root», whose certificates prove hostnames, and
    have one clock and one database."""

    def __init__(
        self, reporting: TestClient, enforcing: TestClient, requiring: TestClient, clock: Clock
    ) -> None:
        self.reporting = reporting
        self.enforcing = enforcing
        self.requiring = requiring
        self.clock = clock


@pytest.fixture(scope="session")
def _apps(backend: Backend, folder: Path) -> Iterator[Apps]:
    roots = folder / f"roots-{backend.name}.pem"
    roots.write_text(pem(authority.an_authority("Root", "Root")))
    clock = Clock()
    with ExitStack() as stack:

        def started(checks: str, proof: str = "preferred") -> TestClient:
            config = backend.config(
                CC_CA_BUNDLE=str(roots),
                CC_UPLOAD_CHECKS=checks,
                CC_HOSTNAME_PROOF=proof,
                CC_PRIVATE_ROOTS_PROVE_NAMES="true",
                CC_EDGE_TARGETS="edge.example.org,192.0.2.99",
                CC_PUBLIC_URL="https://service.example.org:8443/certificates",
                CC_RESERVED_HOSTNAMES="platform.example.org",
            )
            app = create_app(config, now=clock)
            stack.callback(app.close)
            return TestClient(app, headers={"Host": "localhost:9000"})

        requiring = started("report", "required")
        yield Apps(started("report"), started("enforce"), requiring, clock)


@pytest.fixture
def apps(_apps: Apps, engine: sa.Engine) -> Apps:
    _apps.clock.now = authority.NOW
    return _apps


@pytest.fixture
def clock(apps: Apps) -> Clock:
    """The clock of `reporting` and `enforcing`."""
    return apps.clock


@pytest.fixture
def reporting(apps: Apps) -> TestClient:
    """The application that stores what has errors, in the authority's time."""
    return apps.reporting


@pytest.fixture
def enforcing(apps: Apps) -> TestClient:
    """The application that refuses what has errors, in the authority's time."""
    return apps.enforcing


@pytest.fixture
def requiring(apps: Apps) -> TestClient:
    """The application that activates hostnames with proof of control only."""
    return apps.requiring
