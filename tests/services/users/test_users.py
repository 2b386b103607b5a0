import base64
import hashlib
from threading import Thread

import bcrypt
import pytest
import sqlalchemy as sa

from customer_certificates.crypto.passwords import PasswordHashes
from customer_certificates.errors import Conflict, NotFound, PreconditionFailed
from customer_certificates.models import User
from customer_certificates.services.etags import Tags
from customer_certificates.services.users.users import NewUser, UserChanges, Users
from customer_certificates.services.users.views import UserView

from ...factories import CHEAPEST_HASHES
from ...tables import NOW, PRINCIPAL, add_certificates, add_users, dump
from .test_password_hashing import WAIT_SECONDS, SlowPassword

pytestmark = pytest.mark.one_backend

HASHES = PasswordHashes(CHEAPEST_HASHES)


def signed_in(users: Users, email: str, password: str) -> int | None:
    found = users.sign_in(email, password)
    return found.user_id if found else None


def set_hash(engine: sa.Engine, user_id: int, made: str) -> None:
    with engine.begin() as connection:
        connection.execute(sa.update(User).where(User.id == user_id).values(password_hash=made))


def hash_of(engine: sa.Engine, user_id: int) -> str:
    with engine.connect() as connection:
        found = connection.execute(sa.select(User.password_hash).where(User.id == user_id))
        return str(found.scalar_one())


def older_hash(password: str) -> str:
    """Returns a hash of the older system: bcrypt of the base64 of the SHA-256."""
    digest = base64.b64encode(hashlib.sha256(password.encode()).digest())
    return bcrypt.hashpw(digest, bcrypt.gensalt(4)).decode()


def test_registered_at_the_time_that_was_given(users: Users) -> None:
    user_id = users.register(PRINCIPAL, NewUser("Ada", "Ada@example.com", "x"))

    assert users.get(user_id) == UserView(user_id, "Ada", "Ada@example.com", False, NOW, None, {})


def test_one_signs_in(users: Users, engine: sa.Engine) -> None:
    user_id = users.register(PRINCIPAL, NewUser("Ada", "ada@example.com", "x"))
    users.register(PRINCIPAL, NewUser("Grace", "grace@example.com", "y"))
    before = dump(engine)

    assert signed_in(users, "ada@example.com", "x") == user_id
    assert signed_in(users, "ADA@EXAMPLE.COM", "x") == user_id
    assert signed_in(users, "ada@example.com", "y") is None
    assert signed_in(users, "ada@example.com", "X") is None
    assert signed_in(users, "nobody@example.com", "x") is None
    assert dump(engine) == before


def test_the_older_systems_hash_is_replaced_at_the_sign_in(users: Users, engine: sa.Engine) -> None:
    user_id = users.register(PRINCIPAL, NewUser("Ada", "ada@example.com", "x"))
    older = older_hash("an old password")
    set_hash(engine, user_id, older)

    assert signed_in(users, "ada@example.com", "a wrong password") is None
    assert hash_of(engine, user_id) == older
    assert signed_in(users, "ada@example.com", "an old password") == user_id
    made = hash_of(engine, user_id)
    assert made.startswith("$argon2id$")
    assert HASHES.matches(made, "an old password")
    assert signed_in(users, "ada@example.com", "an old password") == user_id
    assert hash_of(engine, user_id) == made


@pytest.mark.both_backends
def test_a_password_changed_meanwhile_stays(users: Users, engine: sa.Engine) -> None:
    """The change comes while the old password is checked, before its better hash is stored."""
    user_id = users.register(PRINCIPAL, NewUser("Ada", "ada@example.com", "x"))
    set_hash(engine, user_id, older_hash("an old password"))
    slow = SlowPassword("an old password")
    request = Thread(target=lambda: users.sign_in("ada@example.com", slow))
    request.start()
    assert slow.begun.wait(WAIT_SECONDS)
    changed = HASHES.make("a new password")
    set_hash(engine, user_id, changed)
    slow.release.set()
    request.join()

    assert hash_of(engine, user_id) == changed
    assert signed_in(users, "ada@example.com", "an old password") is None
    assert signed_in(users, "ada@example.com", "a new password") == user_id


def test_only_the_new_password_signs_in(users: Users) -> None:
    user_id = users.register(PRINCIPAL, NewUser("Ada", "ada@example.com", "x"))
    users.change(PRINCIPAL, user_id, UserChanges(password="y"), None)

    assert signed_in(users, "ada@example.com", "x") is None
    assert signed_in(users, "ada@example.com", "y") == user_id


def test_a_refused_change_changes_nothing(users: Users, engine: sa.Engine) -> None:
    user_id = users.register(PRINCIPAL, NewUser("Ada", "ada@example.com", "x"))
    users.register(PRINCIPAL, NewUser("Grace", "grace@example.com", "x"))
    before = dump(engine)
    changes = UserChanges(name="G", email="GRACE@example.com", password="y")

    with pytest.raises(Conflict):
        users.change(PRINCIPAL, user_id, changes, None)
    with pytest.raises(PreconditionFailed):
        users.change(PRINCIPAL, user_id, UserChanges(name="G", password="y"), Tags(["other"]))
    with pytest.raises(NotFound):
        users.change(PRINCIPAL, user_id + 1000, UserChanges(name="G", password="y"), None)
    with pytest.raises(PreconditionFailed):
        users.delete(PRINCIPAL, user_id, Tags(["other"]))
    with pytest.raises(NotFound):
        users.delete(PRINCIPAL, user_id + 1000, None)
    assert dump(engine) == before


@pytest.mark.both_backends
def test_a_user_goes_with_every_certificate(users: Users, engine: sa.Engine) -> None:
    owner, stranger = add_users(engine, 2)
    add_certificates(engine, owner, 20)
    kept = add_certificates(engine, stranger, 2)
    users.delete(PRINCIPAL, owner, None)

    left = dump(engine)
    assert [row[0] for row in left["users"]] == [stranger]
    assert [row[0] for row in left["certificates"]] == kept
    assert users.register(PRINCIPAL, NewUser("Ada", "ada@example.com", "x")) > stranger
