"""Passwords: change, set, and reset by token."""

from msgspec import UNSET

from service.api.http.response import Response
from service.api.operations import ResponseSpec, post, put
from service.api.preconditions import if_match_check, require_if_match
from service.api.requests import OperationRequest
from service.api.responses import created, no_content
from service.api.schemas.common import given, timestamp
from service.api.schemas.reset_tokens import RedeemBody, ResetTokenView
from service.api.schemas.users import ChangePasswordBody, UserView
from service.api.writes import Writes
from service.db.core.database import Database
from service.db.reads import Reads
from service.domain.callers import Access
from service.domain.errors import (
    EmailTaken,
    FieldError,
    HashingBusy,
    InvalidToken,
    LoginThrottled,
    NotFound,
    PasswordChangeRequired,
    ValidationFailed,
)
from service.domain.keys import Scope
from service.security.hashing.hasher import PasswordHasher
from service.usecases import passwords, reset_tokens
from service.usecases.policies import Policies


@put(
    "/v1/users/{user_id}/password",
    description="One's own with `current_password`: all other sessions end. Another's without it: all its "
    "sessions end. With `must_change` its owner has to change it within a day, before anything else. For "
    "another, a session needs a recent login; for an administrator, a key `admins:write` too.",
    tag="passwords",
    access=Access(
        owner=True,
        admin=True,
        scope=Scope.USERS_WRITE,
        allowed_during_forced_change=True,
        fresh_for_others=True,
    ),
    responses={204: ResponseSpec("The password is changed.")},
    errors=(LoginThrottled, HashingBusy, PasswordChangeRequired),
    body=ChangePasswordBody,
    is_conditional_write=True,
)
async def change_password(
    request: OperationRequest, database: Database, reads: Reads, hasher: PasswordHasher, policies: Policies
) -> Response:
    """Change a password."""
    if request.own_user is not None:
        await _change_own(request, database, hasher, policies)
    else:
        await _set_other(request, reads, database, hasher, policies)
    return no_content()


@post(
    "/v1/users/{user_id}/reset-tokens",
    description="The caller delivers it. A new one, a password change or deletion ends the one before. "
    "Needs a recent login; for an administrator, a key needs `admins:write` too.",
    tag="passwords",
    access=Access(admin=True, scope=Scope.USERS_WRITE, fresh=True),
    responses={201: ResponseSpec("The token, shown this once.", ResetTokenView)},
)
async def create_reset_token(request: OperationRequest, writes: Writes, policies: Policies) -> Response:
    """Create a reset token."""
    token, expires_at = await writes.run(
        reset_tokens.create_reset_token, request.subject_id, context=request.context, policies=policies
    )
    return created(ResetTokenView(token.value, timestamp(expires_at)))


@post(
    "/v1/reset-tokens/redeem",
    description="Works once; all sessions of the user end.",
    tag="passwords",
    access=Access(public=True),
    responses={204: ResponseSpec("The password is set.")},
    errors=(InvalidToken, HashingBusy, EmailTaken),
    body=RedeemBody,
)
async def redeem_reset_token(
    request: OperationRequest, database: Database, hasher: PasswordHasher, policies: Policies
) -> Response:
    """Set a password by a reset token."""
    body = request.body(RedeemBody)
    await reset_tokens.redeem_reset_token(
        database, body.token, body.new_password, hasher=hasher, context=request.context, policies=policies
    )
    return no_content()


async def _change_own(
    request: OperationRequest, database: Database, hasher: PasswordHasher, policies: Policies
) -> None:
    body = request.body(ChangePasswordBody)
    if body.must_change is not UNSET:
        raise _field_error("/must_change", "not_settable", "This is for another user only.")
    if body.current_password is UNSET:
        raise _field_error("/current_password", "missing_field", "This field is required.")
    require_if_match(request.if_match, UserView.of(request.session.user))
    await passwords.change_own_password(
        database,
        request.session,
        body.current_password,
        body.new_password,
        hasher=hasher,
        context=request.context,
        policies=policies,
    )


async def _set_other(
    request: OperationRequest, reads: Reads, database: Database, hasher: PasswordHasher, policies: Policies
) -> None:
    body = request.body(ChangePasswordBody)
    if body.current_password is not UNSET:
        raise _field_error("/current_password", "not_settable", "This is for one's own password only.")
    precondition = if_match_check(request.if_match, UserView.of)
    user = await reads.users.get(request.subject_id)
    if user is None:
        raise NotFound
    await passwords.set_password(
        database,
        user,
        body.new_password,
        must_change=passwords.must_change_password(given(body.must_change), request.caller),
        hasher=hasher,
        context=request.context,
        policies=policies,
        precondition=precondition,
    )


def _field_error(pointer: str, code: str, detail: str) -> ValidationFailed:
    return ValidationFailed(FieldError(pointer, code, detail))
