"""Making administrators from the command line."""

from service.db.transaction import Tx
from service.domain.errors import FieldError, ValidationFailed
from service.domain.events import AuditContext
from service.domain.users import Role, State, User, UserPatch, canonical_login_id
from service.usecases.policies import Policies
from service.usecases.users import update_user


async def grant_admin(tx: Tx, login_id: str, *, context: AuditContext, policies: Policies) -> User | None:
    """Give an existing account the role of administrator, and enable it; None when there is no such account.

    Locks: the account, then its sessions.

    Raises:
        ValidationFailed: this cannot be a login id.
    """
    canonical = canonical_login_id(login_id, policies.login_ids)
    if canonical is None:
        raise ValidationFailed(FieldError("/login_id", "invalid_value", policies.login_ids.rule))
    user = await tx.users.get_by_login_id(canonical)
    if user is None:
        return None
    change = UserPatch(role=Role.ADMIN, state=State.ACTIVE)
    return await update_user(
        tx, user.id, change, context=context, policies=policies, precondition=lambda _user: True
    )
