"""Making administrators from the command line."""

from service.db.transaction import Tx
from service.domain.errors import FieldFault, ValidationFailed
from service.domain.events import Origin
from service.domain.users import Role, State, User, UserChange, canonical_login_id
from service.usecases.policies import Rules
from service.usecases.users import update_user


async def grant_admin(tx: Tx, login_id: str, *, origin: Origin, rules: Rules) -> User | None:
    """Give an existing account the role of administrator, and enable it; None when there is no such account.

    Locks: the account, then its sessions.

    Raises:
        ValidationFailed: this cannot be a login id.
    """
    canonical = canonical_login_id(login_id)
    if canonical is None:
        raise ValidationFailed(FieldFault("/login_id", "invalid_value", "This cannot be a login id."))
    user = await tx.users.get_by_login_id(canonical)
    if user is None:
        return None
    change = UserChange(role=Role.ADMIN, state=State.ACTIVE)
    return await update_user(tx, user.id, change, origin=origin, rules=rules, precondition=lambda _user: True)
