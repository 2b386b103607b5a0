"""The lock that orders a user's writes."""

from sqlalchemy.orm import Session

from ..errors import user_not_found
from ..models import User


def lock_user(session: Session, user_id: int) -> User:
    """Returns the user's row, locked until the transaction ends. Raises NotFound."""
    user = session.get(User, user_id, with_for_update=True)
    if user is None:
        raise user_not_found(user_id)
    return user
