"""Passwords: change one's own, set another's, reset by token."""

from typing import Any

from litestar import Controller, HttpMethod, Request, Response
from msgspec import UNSET

from service.api.injection import GivenHasher, GivenPolicies, GivenReads, GivenUow
from service.api.operations import Operation, ResponseSpec, endpoint
from service.api.pipeline import call_of
from service.api.responses import answer, if_match_check, nothing, require_if_match
from service.api.schemas.common import timestamp
from service.api.schemas.reset_tokens import RedeemBody, ResetTokenView
from service.api.schemas.users import ChangePasswordBody, UserView
from service.domain.callers import Access
from service.domain.errors import (
    FieldError,
    HashingBusy,
    InvalidToken,
    LoginThrottled,
    NotFound,
    PasswordChangeRequired,
    ValidationFailed,
)
from service.domain.keys import Scope
from service.usecases.passwords import (
    change_own_password,
    create_reset_token,
    redeem_reset_token,
    set_password,
)

CHANGE_PASSWORD = Operation(
    id="change_password",
    summary="Change a password",
    description="One's own with `current_password`: all other sessions end. Another's without it: all its "
    "sessions end, and unless `must_change` is false its owner has to change it first.",
    tag="passwords",
    access=Access(owner=True, admin=True, scope=Scope.USERS_WRITE, allowed_during_forced_change=True),
    answers={204: ResponseSpec("The password is changed.")},
    problems=(NotFound, LoginThrottled, HashingBusy, PasswordChangeRequired),
    body=ChangePasswordBody,
    is_conditional_write=True,
)
CREATE_RESET_TOKEN = Operation(
    id="create_reset_token",
    summary="Create a reset token",
    description="The caller delivers it. A new one, a password change or deletion ends the one before.",
    tag="passwords",
    access=Access(admin=True, scope=Scope.USERS_WRITE),
    answers={201: ResponseSpec("The token, shown this once.", ResetTokenView)},
    problems=(NotFound,),
)
REDEEM_RESET_TOKEN = Operation(
    id="redeem_reset_token",
    summary="Set a password by a reset token",
    description="Works once; all sessions of the account end.",
    tag="passwords",
    access=Access(public=True),
    answers={204: ResponseSpec("The password is set.")},
    problems=(InvalidToken, HashingBusy),
    body=RedeemBody,
)


class PasswordController(Controller):
    """Passwords under `/v1/users/{user_id}`, and reset tokens."""

    path = "/v1"

    @endpoint(HttpMethod.PUT, "/users/{user_id:str}/password", CHANGE_PASSWORD)
    async def change_password(
        self,
        request: Request[Any, Any, Any],
        uow: GivenUow,
        reads: GivenReads,
        hasher: GivenHasher,
        policies: GivenPolicies,
    ) -> Response[None]:
        """Change one's own password, or set another's."""
        call = call_of(request)
        user_id, body = call.subject_id(), call.body(ChangePasswordBody)
        own = call.caller.authenticated_session
        if own is not None and own.user.id == user_id:
            current = _current_password(body)
            require_if_match(UserView.of(own.user), call.headers)
            await change_own_password(
                uow,
                own.user,
                current,
                body.new_password,
                hasher=hasher,
                context=call.context,
                policies=policies,
            )
            return nothing()
        _refuse_current_password(body)
        precondition = if_match_check(call.headers)
        user = await reads.users.get(user_id)
        if user is None:
            raise NotFound
        await set_password(
            uow,
            user,
            body.new_password,
            must_change=body.must_change is not False,
            hasher=hasher,
            context=call.context,
            policies=policies,
            precondition=precondition,
        )
        return nothing()

    @endpoint(HttpMethod.POST, "/users/{user_id:str}/reset-tokens", CREATE_RESET_TOKEN)
    async def create_reset_token(
        self, request: Request[Any, Any, Any], uow: GivenUow, policies: GivenPolicies
    ) -> Response[bytes]:
        """Create a reset token for the caller to deliver."""
        call = call_of(request)
        user_id = call.subject_id()
        token, ends_at = await uow.run(
            lambda tx: create_reset_token(tx, user_id, context=call.context, policies=policies)
        )
        return answer(ResetTokenView(token.value, timestamp(ends_at)), status=201)

    @endpoint(HttpMethod.POST, "/reset-tokens/redeem", REDEEM_RESET_TOKEN)
    async def redeem_reset_token(
        self, request: Request[Any, Any, Any], uow: GivenUow, hasher: GivenHasher, policies: GivenPolicies
    ) -> Response[None]:
        """Set a password by a reset token."""
        call = call_of(request)
        body = call.body(RedeemBody)
        await redeem_reset_token(
            uow, body.token, body.new_password, hasher=hasher, context=call.context, policies=policies
        )
        return nothing()


def _current_password(body: ChangePasswordBody) -> str:
    if body.must_change is not UNSET:
        raise ValidationFailed(
            FieldError("/must_change", "not_settable", "This is for another's account only.")
        )
    if body.current_password is UNSET:
        raise ValidationFailed(FieldError("/current_password", "missing_field", "This field is required."))
    return body.current_password


def _refuse_current_password(body: ChangePasswordBody) -> None:
    if body.current_password is not UNSET:
        raise ValidationFailed(
            FieldError("/current_password", "not_settable", "This is for one's own account only.")
        )
