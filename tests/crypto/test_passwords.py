import base64
import hashlib

import bcrypt
import pytest

from customer_certificates.config import LEAST_PASSWORD_COST
from customer_certificates.crypto.passwords import PasswordHashes

HASHES = PasswordHashes(LEAST_PASSWORD_COST)
PASSWORDS = ["x", "correct horse", "пароль 👩‍💻", "a\x00b", "a\x00c", "x" * 1024]


def older_hash(password: str, prefix: bytes = b"2b") -> str:
    """As the older system made them: bcrypt of the base64 of the SHA-256."""
    digest = base64.b64encode(hashlib.sha256(password.encode()).digest())
    made = bcrypt.hashpw(digest, bcrypt.gensalt(4))
    return made.replace(b"$2b$", b"$%b$" % prefix).decode()


@pytest.mark.parametrize("password", PASSWORDS)
def test_a_hash_is_of_its_password_alone(password: str) -> None:
    made = HASHES.make(password)

    assert [other for other in PASSWORDS if HASHES.matches(made, other)] == [password]


def test_a_hash_says_how_it_was_made() -> None:
    memory, passes, lanes = LEAST_PASSWORD_COST

    assert HASHES.make("x").startswith(f"$argon2id$v=19$m={memory},t={passes},p={lanes}$")


def test_no_two_hashes_are_alike() -> None:
    assert HASHES.make("x") != HASHES.make("x")


@pytest.mark.parametrize("prefix", [b"2a", b"2b", b"2y"])
def test_the_older_systems_hashes_are_understood(prefix: bytes) -> None:
    made = older_hash("x" * 100, prefix)

    assert HASHES.matches(made, "x" * 100)
    assert not HASHES.matches(made, "x" * 99)
    assert HASHES.is_outdated(made)


def test_hashes_of_another_cost_match_and_are_outdated() -> None:
    memory, passes, lanes = LEAST_PASSWORD_COST
    dearer = PasswordHashes((memory, passes + 1, lanes))
    made = HASHES.make("x")

    assert dearer.matches(made, "x")
    assert (HASHES.is_outdated(made), dearer.is_outdated(made)) == (False, True)


@pytest.mark.parametrize(
    "no_hash", ["", "x", "$", "$2b$", "$2b$04$short", "$argon2id$", "$argon2id$v=19$m=1", "é", "!"]
)
def test_what_is_no_hash_matches_nothing(no_hash: str) -> None:
    assert not HASHES.matches(no_hash, "x")
    assert not HASHES.matches(no_hash, no_hash)
