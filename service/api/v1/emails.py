"""E-mail addresses: verification."""

from service.api.http.response import Response
from service.api.operations import ResponseSpec, post
from service.api.requests import OperationRequest
from service.api.responses import accepted, no_content
from service.api.schemas.mail import VerifyEmailBody
from service.api.writes import Writes
from service.db.core.database import Database
from service.domain.callers import Access
from service.domain.errors import EmailTaken, InvalidToken, MailThrottled
from service.domain.keys import Scope
from service.security.mail_tokens import MailTokens
from service.usecases import emails
from service.usecases.policies import Policies


@post(
    "/v1/users/{user_id}/email-verification",
    description="To the pending address, or to the one that is not verified yet; without either, nothing is "
    "sent. At most 5 an hour.",
    tag="users",
    access=Access(owner=True, admin=True, scope=Scope.USERS_WRITE),
    responses={202: ResponseSpec("The mail will be sent.")},
    errors=(MailThrottled,),
)
async def send_verification(
    request: OperationRequest, writes: Writes, tokens: MailTokens, policies: Policies
) -> Response:
    """Send a mail that verifies an address."""
    await writes.run(
        emails.send_verification, request.subject_id, caller=request.caller, tokens=tokens, policies=policies
    )
    return accepted()


@post(
    "/v1/email-verifications/redeem",
    description="Works once, within 24 hours. A pending address takes effect here, and the earlier one "
    "is notified.",
    tag="users",
    access=Access(public=True),
    responses={204: ResponseSpec("The address is verified.")},
    errors=(InvalidToken, EmailTaken),
    body=VerifyEmailBody,
)
async def verify_email(request: OperationRequest, database: Database) -> Response:
    """Verify an address by the token from the mail."""
    await emails.verify_email(database, request.body(VerifyEmailBody).token, context=request.context)
    return no_content()
