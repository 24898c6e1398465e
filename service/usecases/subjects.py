"""The user that an operation is about."""

from uuid import UUID

from service.db.core.transaction import Transaction
from service.db.repositories.users import UserRepository
from service.domain.callers import Caller
from service.domain.errors import NotFound
from service.domain.users import User


async def lock_subject(tx: Transaction, user_id: UUID, *, caller: Caller) -> User:
    """Lock a user and return it, if the caller has authority over it.

    Raises:
        NotFound: there is no such user.
        Forbidden: it is an administrator, and the key lacks `admins:write`.
    """
    user = await UserRepository(tx).get_for_update(user_id)
    if user is None:
        raise NotFound
    caller.require_authority_over(user.role)
    return user
