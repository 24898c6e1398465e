"""Creating, updating and deleting users."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import UUID

from service.db.core.transaction import Transaction
from service.db.repositories.events import EventRepository
from service.db.repositories.sessions import SessionRepository
from service.db.repositories.user_tokens import ResetTokenRepository
from service.db.repositories.users import NewUser, UserRepository
from service.domain.callers import Caller, CallerKind
from service.domain.details import NO_DETAILS, DetailsPatch, merge_metadata
from service.domain.errors import (
    FieldError,
    Forbidden,
    LastAdmin,
    NotFound,
    PreconditionFailed,
    ValidationFailed,
)
from service.domain.events import Action, AuditContext
from service.domain.keys import Scope
from service.domain.users import (
    LoginIdCharset,
    User,
    UserPatch,
    UserRole,
    UserState,
    canonical_login_id,
    validate_name,
)
from service.security.hashing.hasher import PasswordHasher
from service.security.hashing.imported_hashes import check_importable
from service.security.ids import new_id
from service.usecases.details import (
    PRIVILEGED,
    apply_details,
    check_details,
    details_of_new_user,
    forget_pending_address,
)
from service.usecases.keys import revoke_keys_of
from service.usecases.passwords import Admit, hash_new_password, must_change_password, password_errors
from service.usecases.policies import Policies
from service.usecases.subjects import lock_subject

Precondition = Callable[[User], bool]
"""Whether the user is still the version that the caller has seen."""


@dataclass(frozen=True, slots=True)
class Registration:
    """The fields of a new user as they were sent."""

    login_id: str
    name: str
    password: str | None = None
    password_hash: str | None = None
    role: UserRole | None = None
    state: UserState | None = None
    must_change: bool | None = None
    details: DetailsPatch = NO_DETAILS
    invite: bool = False


def validate_login_id(raw: str, charset: LoginIdCharset) -> str | FieldError:
    """Return the canonical form of a login id, or the error."""
    return canonical_login_id(raw, charset) or FieldError("/login_id", "invalid_value", charset.rule)


def creates_for_others(caller: Caller) -> bool:
    """Return whether the caller has authority to create users; anyone else registers itself."""
    return caller.is_admin or caller.has_scope(Scope.USERS_WRITE) or caller.kind is CallerKind.OPERATOR


async def prepare_user(
    request: Registration,
    *,
    hasher: PasswordHasher,
    context: AuditContext,
    policies: Policies,
    admit: Admit | None = None,
) -> NewUser:
    """Check a registration against every rule, and hash its password.

    With `admit`, which is called as `hash_new_password` says, there has to be a password.

    Raises:
        ValidationFailed: with every error at once.
        Forbidden: it is an administrator, and the key lacks `admins:write`.
        ReauthenticationRequired: it is an administrator, and the caller's login is too old.
        HashingBusy: too many passwords wait to be hashed.
    """
    login_id, name, details = _validate(
        request, caller=context.caller, policies=policies, needs_password=admit is not None
    )
    if request.role is UserRole.ADMIN:
        context.caller.require_authority_over(UserRole.ADMIN)
        context.caller.require_recent_login(policies.sessions.step_up_ttl)
    password_hash = request.password_hash
    if request.password is not None:
        password_hash = await hash_new_password(request.password, hasher=hasher, context=context, admit=admit)
    role, state = request.role or UserRole.USER, request.state or UserState.ACTIVE
    is_chosen_here = request.password is not None or request.must_change is not None
    must_change = is_chosen_here and must_change_password(request.must_change, context.caller)
    return NewUser(
        new_id(),
        login_id,
        name,
        password_hash,
        role,
        state,
        must_change,
        email=details.email,
        email_verified=details.email_verified,
        locale=details.locale,
        external_id=details.external_id,
        metadata=merge_metadata({}, details.metadata),
    )


def _validate(
    request: Registration, *, caller: Caller, policies: Policies, needs_password: bool
) -> tuple[str, str, DetailsPatch]:
    """Return login id, name and details in their stored forms.

    Raises:
        ValidationFailed: with every error at once.
    """
    login_id, name = validate_login_id(request.login_id, policies.login_ids), validate_name(request.name)
    errors = [found for found in (login_id, name) if isinstance(found, FieldError)]
    errors += _password_hash_errors(request) + _privilege_errors(request, caller)
    if needs_password and request.password is None and request.password_hash is None:
        errors.append(FieldError("/password", "missing_field", "This field is required."))
    if request.password is not None:
        terms = (request.login_id, request.name, policies.service_name)
        errors += password_errors(request.password, "/password", terms, policies)
    details = details_of_new_user(request.details, login_id, caller)
    if isinstance(details, list):
        raise ValidationFailed(*errors, *details)
    if request.invite:
        errors += _invitation_errors(request, details)
    if errors or isinstance(login_id, FieldError) or isinstance(name, FieldError):
        raise ValidationFailed(*errors)
    return login_id, name, details


async def create_user(tx: Transaction, new: NewUser, *, context: AuditContext) -> User:
    """Insert a prepared user.

    Raises:
        LoginIdTaken: another user has the login id.
    """
    user = await UserRepository(tx).add(new)
    await EventRepository(tx).add(context, Action.USER_CREATED, user.id)
    return user


async def record_export(tx: Transaction, *, context: AuditContext) -> None:
    """Record that all users are being exported. Source: OWASP ASVS 5.0 16.3.3."""
    await EventRepository(tx).add(context, Action.USERS_EXPORTED, None)


def check_change(change: UserPatch, *, caller: Caller, policies: Policies) -> UserPatch:
    """Return a patch with its fields in canonical form.

    Raises:
        Forbidden: it names a field that a plain user may not change. Source: OWASP ASVS 5.0 8.2.3.
        ReauthenticationRequired: it names login id or role, and the caller's login is too old.
        ValidationFailed: with every error at once.
    """
    is_privileged = caller.is_admin or caller.key is not None
    if not is_privileged and (change.login_id, change.role, change.state) != (None, None, None):
        raise Forbidden(PRIVILEGED)
    if (change.login_id, change.role) != (None, None):
        caller.require_recent_login(policies.sessions.step_up_ttl)
    name = validate_name(change.name) if change.name is not None else None
    login_id = validate_login_id(change.login_id, policies.login_ids) if change.login_id is not None else None
    if isinstance(login_id, FieldError) or isinstance(name, FieldError):
        raise ValidationFailed(*(found for found in (login_id, name) if isinstance(found, FieldError)))
    details = check_details(change.details, caller=caller, policies=policies)
    return UserPatch(name, login_id, change.role, change.state, details)


async def update_user(
    tx: Transaction,
    user_id: UUID,
    change: UserPatch,
    *,
    context: AuditContext,
    precondition: Precondition,
) -> User:
    """Apply a checked patch. Disabling and a new role end every session, in this transaction.

    Disabling also ends what mails to the user can be used for.

    The caller's own session outlives a change of its own role: it has been used to make it.

    The API keys that an administrator has created are revoked with the administrator's rights.

    Locks: the active administrators if one might be lost, then the user, then its sessions, then its keys.

    Raises:
        NotFound: there is no such user.
        Forbidden: it is or becomes an administrator, and the key lacks `admins:write`.
        PreconditionFailed: the user has changed.
        LastAdmin: no active administrator would remain.
        LoginIdTaken: another user has the new login id.
    """
    loses_admin = change.role is UserRole.USER or change.state is UserState.DISABLED
    context.caller.require_authority_over(change.role or UserRole.USER)
    user = await _lock_for_change(
        tx, user_id, caller=context.caller, precondition=precondition, loses_admin=loses_admin
    )
    columns = replace(change, details=NO_DETAILS)
    changed = await UserRepository(tx).change(user_id, columns) if columns != UserPatch() else user
    changed = await apply_details(tx, changed, change.details, context=context)
    if changed.state is UserState.DISABLED and user.state is UserState.ACTIVE:
        await SessionRepository(tx).end_all(user_id)
        await ResetTokenRepository(tx).drop(user_id)
        changed = await forget_pending_address(tx, changed)
    elif changed.role is not user.role:
        await SessionRepository(tx).end_all(user_id, kept_id=context.caller.session_id)
    if user.is_active_admin and not changed.is_active_admin:
        await revoke_keys_of(tx, user_id, context=context)
    for action in _actions_of(user, changed):
        await EventRepository(tx).add(context, action, user_id)
    return changed


async def grant_admin(
    tx: Transaction, login_id: str, *, context: AuditContext, policies: Policies
) -> User | None:
    """Make an existing user an active administrator; return None if there is no such user.

    Locks: the user, then its sessions.

    Raises:
        ValidationFailed: the login id is invalid.
    """
    canonical = validate_login_id(login_id, policies.login_ids)
    if isinstance(canonical, FieldError):
        raise ValidationFailed(canonical)
    user = await UserRepository(tx).get_by_login_id(canonical)
    if user is None:
        return None
    change = UserPatch(role=UserRole.ADMIN, state=UserState.ACTIVE)
    return await update_user(tx, user.id, change, context=context, precondition=lambda _user: True)


async def delete_user(
    tx: Transaction, user_id: UUID, *, context: AuditContext, precondition: Precondition
) -> None:
    """Delete a user and everything that belongs to it, including the API keys that it created.

    Locks: the active administrators if one might be lost, then the user.

    Raises:
        NotFound: there is no such user.
        Forbidden: it is an administrator, and the key lacks `admins:write`.
        PreconditionFailed: the user has changed.
        LastAdmin: no active administrator would remain.
    """
    await _lock_for_change(tx, user_id, caller=context.caller, precondition=precondition, loses_admin=True)
    await revoke_keys_of(tx, user_id, context=context)
    await UserRepository(tx).delete(user_id)
    await EventRepository(tx).add(context, Action.USER_DELETED, user_id)


async def _lock_for_change(
    tx: Transaction, user_id: UUID, *, caller: Caller, precondition: Precondition, loses_admin: bool
) -> User:
    """Lock the user, and before it all active administrators if it is one of them and may cease to be.

    The unlocked read only decides whether to lock the others too; the rule is applied to the locked rows.
    """
    users = UserRepository(tx)
    seen = await users.get(user_id)
    if seen is None:
        raise NotFound
    admins = await users.lock_active_admins() if loses_admin and seen.is_active_admin else set()
    user = await lock_subject(tx, user_id, caller=caller)
    if not precondition(user):
        raise PreconditionFailed
    if loses_admin and user.is_active_admin and admins <= {user_id}:
        raise LastAdmin
    return user


def _actions_of(before: User, after: User) -> list[Action]:
    actions = []
    if after.state is not before.state:
        actions.append(Action.USER_DISABLED if after.state is UserState.DISABLED else Action.USER_ENABLED)
    if after.role is not before.role:
        actions.append(Action.USER_ROLE_CHANGED)
    if _described(after) != _described(before):
        actions.append(Action.USER_UPDATED)
    return actions


def _described(user: User) -> tuple[object, ...]:
    return user.name, user.login_id, user.locale, user.external_id, user.metadata


def _password_hash_errors(request: Registration) -> list[FieldError]:
    if request.password_hash is None:
        return []
    errors = []
    if request.password is not None:
        detail = "Send a password or a hash, not both."
        errors.append(FieldError("/password_hash", "conflicting_fields", detail))
    if reason := check_importable(request.password_hash):
        errors.append(FieldError("/password_hash", "invalid_value", reason))
    return errors


def _invitation_errors(request: Registration, details: DetailsPatch) -> list[FieldError]:
    """Return the errors of an invitation: it needs an address, and stands instead of a password."""
    errors = []
    if request.password is not None or request.password_hash is not None:
        errors.append(
            FieldError("/invite", "conflicting_fields", "Send a password or an invitation, not both.")
        )
    if details.email is None:
        errors.append(FieldError("/email", "missing_field", "An invitation needs an address."))
    return errors


def _privilege_errors(request: Registration, caller: Caller) -> list[FieldError]:
    if creates_for_others(caller):
        return []
    return [
        FieldError(f"/{field}", "not_settable", PRIVILEGED)
        for field in ("password_hash", "role", "state", "must_change")
        if getattr(request, field) is not None
    ]
