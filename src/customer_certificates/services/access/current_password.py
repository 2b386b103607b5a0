"""Checks within a transaction that a password is still the user's."""

from ...errors import Conflict
from ...gateways.database import Transaction
from ...models import User
from ..principal import Principal


def require_same_password(session: Transaction, principal: Principal) -> None:
    """Raises Conflict if the password was changed after `principal` signed in.

    The change ended what the old password had opened, and must not miss the new token or session.
    """
    user = session.get(User, principal.user_id, with_for_update=True)
    if user is None or user.password_hash != principal.password_hash:
        raise Conflict("The password was changed during this request. Sign in with the new one.")
