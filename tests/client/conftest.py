"""Skips collecting tests that need root, and shortens the retry delays of the client."""

import os

import pytest

from customer_certificates.client.api import retries

# These become another account, which only root can.
collect_ignore = [] if os.geteuid() == 0 else ["test_second_account.py"]


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "_FIRST_PAUSE_SECONDS", 0.001)
