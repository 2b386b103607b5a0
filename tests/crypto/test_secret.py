"""A secret is shown to nobody by mistake."""

import copy
import json
import logging
import pickle
from collections.abc import Callable

import msgspec
import pytest

from customer_certificates.crypto.secret import Secret

VALUE = b"canary-of-a-secret"
SECRET = Secret(VALUE)


@pytest.mark.parametrize(
    "show",
    [
        str,
        repr,
        "{}".format,
        "{:>10}".format,
        "{!r}".format,
        lambda secret: f"{secret}",
        lambda secret: "%s" % secret,  # noqa: UP031
        lambda secret: logging.LogRecord("", 10, "", 1, "%s", (secret,), None).getMessage(),
        lambda secret: str([secret]) + str({"key": secret}),
    ],
)
def test_it_prints_as_stars(show: Callable[[Secret], str]) -> None:
    assert "***" in show(SECRET)
    assert VALUE.decode() not in show(SECRET)


@pytest.mark.parametrize(
    "take", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, msgspec.json.encode, bytes, hash]
)
def test_it_is_not_taken_out_unasked(take: Callable[[Secret], object]) -> None:
    with pytest.raises(TypeError) as refused:
        take(SECRET)
    assert VALUE.decode() not in str(refused.value)


def test_it_is_revealed_and_compared_on_purpose() -> None:
    assert SECRET.reveal() == VALUE
    assert Secret(VALUE) == SECRET != Secret(b"another")
    assert SECRET != VALUE
    assert not Secret(b"")
