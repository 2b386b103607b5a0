import hmac
import re
import string
import zlib

import pytest

from customer_certificates.crypto import token_format
from customer_certificates.crypto.token_format import TokenKind

SECRET = "0" * 42 + "z"
# Known from outside: the form that scanners for lost secrets are told.
KNOWN = "ccert_operator_7_" + SECRET


def base62(number: int, width: int) -> str:
    """Another way to write it than the code's."""
    digits = string.digits + string.ascii_uppercase + string.ascii_lowercase
    return "".join(digits[number // 62**place % 62] for place in reversed(range(width)))


def test_a_token_is_what_is_published() -> None:
    text = token_format.write("operator", 7, SECRET)

    assert text == KNOWN + base62(zlib.crc32(KNOWN.encode()), 6)
    assert token_format.read(text) == ("operator", 7, SECRET)


@pytest.mark.parametrize("kind", ["user", "operator", "terminator"])
def test_what_is_written_is_read(kind: TokenKind) -> None:
    for token_id in (1, 10, 2**63 - 1):
        secret = token_format.new_secret()
        assert token_format.read(token_format.write(kind, token_id, secret)) == (
            kind,
            token_id,
            secret,
        )


def test_every_character_that_is_changed_is_noticed() -> None:
    text = token_format.write("user", 123, token_format.new_secret())
    for place, character in enumerate(text):
        for other in "0Az_ \n":
            if other != character:
                assert token_format.read(text[:place] + other + text[place + 1 :]) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ccert_",
        KNOWN,
        token_format.write("user", 1, SECRET) + "\n",
        token_format.write("user", 1, SECRET) + "0",
        " " + token_format.write("user", 1, SECRET),
        token_format.write("user", 1, SECRET).upper(),
        token_format.write("user", 0, SECRET),
        token_format.write("user", 10**19, SECRET),
        token_format.write("user", 1, SECRET[1:]),
        token_format.write("owner", 1, SECRET),  # pyrefly: ignore[bad-argument-type]
        "x" * 100_000,
    ],
)
def test_what_is_no_token_is_not_read(text: str) -> None:
    assert token_format.read(text) is None


def test_secrets_are_new_and_of_one_width() -> None:
    made = {token_format.new_secret() for _ in range(1000)}

    assert len(made) == 1000
    assert all(re.fullmatch("[0-9A-Za-z]{43}", secret) for secret in made)


def test_a_digest_fits_its_secret_alone() -> None:
    stored = token_format.digest(SECRET)

    assert len(stored) == 32
    assert token_format.matches(stored, SECRET)
    assert not token_format.matches(stored, SECRET[:-1] + "y")


def test_digests_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """By nothing but what the standard library has for it."""
    compared: list[bytes] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.extend((one, other))
        return True

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert token_format.matches(bytes(32), SECRET)
    assert compared == [bytes(32), token_format.digest(SECRET)]


def test_what_is_printed_of_a_token_has_no_secret() -> None:
    parts = token_format.read(token_format.write("user", 1, SECRET))

    assert parts
    assert SECRET not in f"{parts} {parts!r}"
