"""Making, changing and deleting accounts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from service.db.repositories.users import NewUser
from service.db.transaction import Tx
from service.domain.callers import Caller, CallerKind
from service.domain.errors import (
    FieldError,
    Forbidden,
    LastAdmin,
    NotFound,
    PreconditionFailed,
    ReauthenticationRequired,
    ValidationFailed,
)
from service.domain.events import Action, AuditContext
from service.domain.ids import new_id
from service.domain.keys import Scope
from service.domain.users import (
    NAME_MAX,
    NAME_RULE,
    LoginIdCharset,
    Role,
    State,
    User,
    UserPatch,
    canonical_login_id,
    canonical_name,
)
from service.security.hashing.hasher import PasswordHasher
from service.security.hashing.imported_hashes import check_importable
from service.usecases.passwords import password_faults, to_hash
from service.usecases.policies import Policies

Precondition = Callable[[User], bool]
"""Whether the account is still the one that the caller saw."""

_NOT_YOURS = "Only administrators and API keys may set this."


@dataclass(frozen=True, slots=True)
class Registration:
    """What was asked for in a new account, as it was sent."""

    login_id: str
    name: str
    password: str | None = None
    password_hash: str | None = None
    role: Role | None = None
    state: State | None = None


async def prepare_user(
    wanted: Registration, *, hasher: PasswordHasher, context: AuditContext, policies: Policies
) -> NewUser:
    """Check a registration against every rule, and hash its password.

    Raises:
        ValidationFailed: with every fault at once.
        HashingBusy: too many passwords wait to be hashed.
    """
    charset = policies.login_ids
    login_id, name = canonical_login_id(wanted.login_id, charset), canonical_name(wanted.name)
    found = _identity_faults(login_id, name, charset)
    found += _privilege_faults(wanted, context.caller)
    if wanted.password is not None:
        terms = (wanted.login_id, wanted.name, policies.service_name)
        found += password_faults(wanted.password, "/password", terms, policies)
    if found or login_id is None or name is None:
        raise ValidationFailed(*found)
    password_hash = wanted.password_hash
    if wanted.password is not None:
        password_hash = await to_hash(wanted.password, hasher=hasher, context=context)
    return NewUser(
        new_id(), login_id, name, password_hash, wanted.role or Role.USER, wanted.state or State.ACTIVE
    )


async def create_user(tx: Tx, new: NewUser, *, context: AuditContext) -> User:
    """Add a prepared account.

    Raises:
        LoginIdTaken: another account has the login id.
    """
    user = await tx.users.add(new)
    await tx.events.add(context, Action.USER_CREATED, user.id)
    return user


async def import_users(tx: Tx, batch: Sequence[NewUser], *, context: AuditContext) -> int:
    """Add prepared accounts but for those whose id or login id is taken; give how many were added."""
    added = await tx.users.add_many(batch)
    if added:
        await tx.events.add_many(context, Action.USER_CREATED, added)
    return len(added)


def check_change(change: UserPatch, *, caller: Caller, charset: LoginIdCharset) -> UserPatch:
    """Bring a change into normal form.

    Raises:
        Forbidden: it names what a plain user may not change. Source: OWASP ASVS 5.0 8.2.3.
        ValidationFailed: with every fault at once.
    """
    is_privileged = caller.is_admin or caller.key is not None
    if not is_privileged and (change.login_id, change.role, change.state) != (None, None, None):
        raise Forbidden(_NOT_YOURS)
    login_id = canonical_login_id(change.login_id, charset) if change.login_id is not None else None
    name = canonical_name(change.name) if change.name is not None else None
    found = _identity_faults(
        login_id if change.login_id is not None else "", name if change.name is not None else "", charset
    )
    if found:
        raise ValidationFailed(*found)
    return UserPatch(name, login_id, change.role, change.state)


async def update_user(
    tx: Tx,
    user_id: UUID,
    change: UserPatch,
    *,
    context: AuditContext,
    policies: Policies,
    precondition: Precondition,
) -> User:
    """Apply a checked change. Disabling ends every session, a new role limits them, in the same transaction.

    Locks: the active administrators when one might be lost, then the account, then its sessions.

    Raises:
        NotFound: there is no such account.
        PreconditionFailed: it is no longer the one the caller saw.
        LastAdmin: nobody could administer any more.
        LoginIdTaken: another account has the new login id.
    """
    loses_admin = change.role is Role.USER or change.state is State.DISABLED
    user = await _lock(tx, user_id, precondition=precondition, loses_admin=loses_admin)
    changed = await tx.users.change(user_id, change) if change != UserPatch() else user
    if changed.state is State.DISABLED and user.state is State.ACTIVE:
        await tx.sessions.end_all(user_id)
    if changed.role is not user.role:
        await tx.sessions.shorten(user_id, policies.sessions.lifetime_of(changed.role))
    for action in _actions_of(user, changed):
        await tx.events.add(context, action, user_id)
    return changed


async def delete_user(
    tx: Tx, user_id: UUID, *, context: AuditContext, policies: Policies, precondition: Precondition
) -> None:
    """Delete an account and all that hangs on it.

    Locks: the active administrators when one might be lost, then the account.

    Raises:
        ReauthenticationRequired: the caller's own account, and the log-in is too old.
        NotFound: there is no such account.
        PreconditionFailed: it is no longer the one the caller saw.
        LastAdmin: nobody could administer any more.
    """
    if context.caller.user_id == user_id and not context.caller.logged_in_within(
        policies.sessions.step_up_ttl
    ):
        raise ReauthenticationRequired
    await _lock(tx, user_id, precondition=precondition, loses_admin=True)
    await tx.users.delete(user_id)
    await tx.events.add(context, Action.USER_DELETED, user_id)


async def _lock(tx: Tx, user_id: UUID, *, precondition: Precondition, loses_admin: bool) -> User:
    """Lock the account, and before it all active administrators when it is one of them and may cease to be.

    The unlocked look decides only whether to lock the others too; the rule is applied to what is locked.
    """
    seen = await tx.users.get(user_id)
    if seen is None:
        raise NotFound
    admins = await tx.users.lock_active_admins() if loses_admin and seen.is_active_admin else set()
    user = await tx.users.get_for_update(user_id)
    if user is None:
        raise NotFound
    if not precondition(user):
        raise PreconditionFailed
    if loses_admin and user.is_active_admin and admins <= {user_id}:
        raise LastAdmin
    return user


def _actions_of(before: User, after: User) -> list[Action]:
    actions = []
    if after.state is not before.state:
        actions.append(Action.USER_DISABLED if after.state is State.DISABLED else Action.USER_ENABLED)
    if after.role is not before.role:
        actions.append(Action.USER_ROLE_CHANGED)
    if (after.name, after.login_id) != (before.name, before.login_id):
        actions.append(Action.USER_UPDATED)
    return actions


def _identity_faults(login_id: str | None, name: str | None, charset: LoginIdCharset) -> list[FieldError]:
    faults = []
    if login_id is None:
        faults.append(FieldError("/login_id", "invalid_value", charset.rule))
    if name is None:
        faults.append(FieldError("/name", "invalid_value", f"1 to {NAME_MAX} characters, {NAME_RULE}"))
    return faults


def _privilege_faults(wanted: Registration, caller: Caller) -> list[FieldError]:
    faults = []
    if wanted.password is not None and wanted.password_hash is not None:
        faults.append(
            FieldError("/password_hash", "conflicting_fields", "Send a password or a hash, not both.")
        )
    if wanted.password_hash is not None and (reason := check_importable(wanted.password_hash)):
        faults.append(FieldError("/password_hash", "invalid_value", reason))
    is_trusted = caller.is_admin or caller.has_scope(Scope.USERS_WRITE)
    if not (is_trusted or caller.kind is CallerKind.OPERATOR):
        faults += [
            FieldError(f"/{field}", "not_settable", _NOT_YOURS)
            for field in ("password_hash", "role", "state")
            if getattr(wanted, field) is not None
        ]
    return faults
