"""Authenticator apps: enrol, confirm and remove one."""

from service.api.http.response import Response
from service.api.operations import ResponseSpec, delete, post
from service.api.requests import OperationRequest
from service.api.responses import created, no_content
from service.api.schemas.totp import ConfirmTotpBody, NewTotpView
from service.api.writes import Writes
from service.domain.callers import Access
from service.domain.errors import LoginThrottled, NotFound
from service.usecases import totp
from service.usecases.factors import FactorParts


@post(
    "/v1/users/me/totp",
    description="Makes a secret (RFC 6238), which is shown this once and counts when it is confirmed; until "
    "then an earlier one keeps working. Needs a recent login. 404 unless `ROLLCALL_SECRETS__KEY` is set.",
    tag="factors",
    access=Access(owner=True, fresh=True, allowed_during_enrollment=True),
    responses={201: ResponseSpec("The secret, shown this once.", NewTotpView)},
    errors=(NotFound,),
)
async def enroll_totp(request: OperationRequest, factors: FactorParts) -> Response:
    """Enrol an authenticator app."""
    return created(NewTotpView.of(await totp.enroll_totp(factors, context=request.context)))


@post(
    "/v1/users/me/totp/confirm",
    description="By its current code, which then cannot log in. The new app takes the place of an earlier "
    "one, and the session has two factors from now on. The first second factor of a user ends all its other "
    "sessions. Wrong codes are throttled. Needs a recent login. 404 if nothing waits to be confirmed.",
    tag="factors",
    access=Access(owner=True, fresh=True, allowed_during_enrollment=True),
    responses={204: ResponseSpec("The app is a second factor now.")},
    errors=(NotFound, LoginThrottled),
    body=ConfirmTotpBody,
)
async def confirm_totp(request: OperationRequest, factors: FactorParts) -> Response:
    """Confirm an authenticator app."""
    code = request.body(ConfirmTotpBody).code
    await totp.confirm_totp(factors, request.session, code, context=request.context)
    return no_content()


@delete(
    "/v1/users/me/totp",
    description="And a secret that waits to be confirmed. The last second factor takes the recovery codes "
    "with it. Needs a recent login.",
    tag="factors",
    access=Access(owner=True, fresh=True),
    responses={204: ResponseSpec("The app is removed.")},
    errors=(NotFound,),
)
async def remove_totp(request: OperationRequest, writes: Writes) -> Response:
    """Remove the authenticator app."""
    await writes.run(totp.remove_totp, context=request.context)
    return no_content()
