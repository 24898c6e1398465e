"""Recovery and login codes by mail: the same response whether or not there is an account."""

from service.api.http.response import Response
from service.api.operations import LOGIN_BODY_LIMIT_BYTES, ResponseSpec, post
from service.api.requests import OperationRequest
from service.api.responses import accepted
from service.api.schemas.mail import CodeTokenView, LoginIdOrEmailBody
from service.api.writes import Writes
from service.domain.callers import Access
from service.domain.errors import MailThrottled
from service.usecases import mail_requests
from service.usecases.policies import Policies


@post(
    "/v1/recoveries",
    description="Always 202, in the same time, whether or not there is an account. A mail with a reset token "
    "for `redeem_reset_token` goes to the verified address of the account, if it has one. At most 5 an hour "
    "for a name, and 30 for a network.",
    tag="passwords",
    access=Access(public=True),
    responses={202: ResponseSpec("If there is such an account, a mail will be sent.")},
    errors=(MailThrottled,),
    body=LoginIdOrEmailBody,
    body_limit_bytes=LOGIN_BODY_LIMIT_BYTES,
)
async def request_recovery(request: OperationRequest, writes: Writes, policies: Policies) -> Response:
    """Ask for a mail to set a new password."""
    login_id, email = request.body(LoginIdOrEmailBody).login_id_or_email
    await writes.run(
        mail_requests.request_recovery,
        login_id=login_id,
        email=email,
        context=request.context,
        policies=policies,
    )
    return accepted()


@post(
    "/v1/login-codes",
    description="Served with `ROLLCALL_LOGIN__BY_CODE`. Always 202, in the same time, whether or not there "
    "is an account. The code has 8 digits, works for 10 minutes and 5 tries, and only together with "
    "`code_token` (`log_in`).",
    tag="sessions",
    access=Access(public=True),
    responses={202: ResponseSpec("If there is such an account, a mail will be sent.", CodeTokenView)},
    errors=(MailThrottled,),
    body=LoginIdOrEmailBody,
    body_limit_bytes=LOGIN_BODY_LIMIT_BYTES,
)
async def send_login_code(request: OperationRequest, writes: Writes, policies: Policies) -> Response:
    """Ask for a mail with a code to log in with."""
    login_id, email = request.body(LoginIdOrEmailBody).login_id_or_email
    token = await writes.run(
        mail_requests.request_login_code,
        login_id=login_id,
        email=email,
        context=request.context,
        policies=policies,
    )
    return accepted(CodeTokenView(token.value))
