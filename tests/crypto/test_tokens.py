import hmac
import re
import string
import zlib

import pytest

from customer_certificates.crypto import token_format as tokens
from customer_certificates.crypto.token_format import TokenKind

SECRET = "0" * 42 + "z"
# Known from outside: the form that scanners for lost secrets are told.
KNOWN = "ccert_operator_7_" + SECRET


def base62(number: int, width: int) -> str:
    """Another way to write it than the code's."""
    digits = string.digits + string.ascii_uppercase + string.ascii_lowercase
    return "".join(digits[number // 62**place % 62] for place in reversed(range(width)))


def test_a_token_is_what_is_published() -> None:
    text = tokens.write("operator", 7, SECRET)

    assert text == KNOWN + base62(zlib.crc32(KNOWN.encode()), 6)
    assert tokens.read(text) == ("operator", 7, SECRET)


@pytest.mark.parametrize("kind", ["user", "operator", "terminator"])
def test_what_is_written_is_read(kind: TokenKind) -> None:
    for token_id in (1, 10, 2**63 - 1):
        secret = tokens.new_secret()
        assert tokens.read(tokens.write(kind, token_id, secret)) == (kind, token_id, secret)


def test_every_character_that_is_changed_is_noticed() -> None:
    text = tokens.write("user", 123, tokens.new_secret())
    for place, character in enumerate(text):
        for other in "0Az_ \n":
            if other != character:
                assert tokens.read(text[:place] + other + text[place + 1 :]) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ccert_",
        KNOWN,
        tokens.write("user", 1, SECRET) + "\n",
        tokens.write("user", 1, SECRET) + "0",
        " " + tokens.write("user", 1, SECRET),
        tokens.write("user", 1, SECRET).upper(),
        tokens.write("user", 0, SECRET),
        tokens.write("user", 10**19, SECRET),
        tokens.write("user", 1, SECRET[1:]),
        tokens.write("owner", 1, SECRET),  # pyrefly: ignore[bad-argument-type]
        "x" * 100_000,
    ],
)
def test_what_is_no_token_is_not_read(text: str) -> None:
    assert tokens.read(text) is None


def test_secrets_are_new_and_of_one_width() -> None:
    made = {tokens.new_secret() for _ in range(1000)}

    assert len(made) == 1000
    assert all(re.fullmatch("[0-9A-Za-z]{43}", secret) for secret in made)


def test_a_digest_fits_its_secret_alone() -> None:
    stored = tokens.digest(SECRET)

    assert len(stored) == 32
    assert tokens.matches(stored, SECRET)
    assert not tokens.matches(stored, SECRET[:-1] + "y")


def test_digests_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """By nothing but what the standard library has for it."""
    compared: list[bytes] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.extend((one, other))
        return True

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert tokens.matches(bytes(32), SECRET)
    assert compared == [bytes(32), tokens.digest(SECRET)]


def test_what_is_printed_of_a_token_has_no_secret() -> None:
    parts = tokens.read(tokens.write("user", 1, SECRET))

    assert parts
    assert SECRET not in f"{parts} {parts!r}"
