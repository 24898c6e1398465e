"""Login."""

from http import HTTPMethod

from msgspec import UNSET

from service.api.authentication import bearer_token
from service.api.http.response import Response
from service.api.operations import LOGIN_BODY_LIMIT_BYTES, Operation, ResponseSpec
from service.api.requests import OperationRequest
from service.api.responses import created
from service.api.schemas.login import LoggedInView, LogInBody
from service.api.schemas.sessions import SessionView
from service.api.schemas.users import UserView
from service.db.core.database import Database
from service.db.reads import Reads
from service.domain.callers import Access
from service.domain.emails import canonical_email
from service.domain.errors import HashingBusy, InvalidCredentials, LoginThrottled
from service.security.hashing.hasher import PasswordHasher
from service.security.tokens import SESSION_PREFIX, digest_of
from service.usecases import login
from service.usecases.login import LoginRequest
from service.usecases.login_codes import CodeLogin, log_in_by_code
from service.usecases.policies import Policies


@Operation(
    "log_in",
    HTTPMethod.POST,
    "/v1/sessions",
    summary="Log in",
    description="With `login_id` or a verified `email` and `password`, or with a `code` from a mail and the "
    "`code_token` that came when it was asked for. Every failure is the same 401, in the same time. With a "
    "session token of the same user in `Authorization`, that session ends; any other token is ignored.",
    tag="sessions",
    access=Access(public=True),
    responses={
        201: ResponseSpec(
            "The new session with its tokens, shown this once.",
            LoggedInView,
            ("Location",),
            links={
                "get_session": {"session_id": "$response.body#/session/id"},
                "end_session": {"session_id": "$response.body#/session/id"},
                "get_user": {"user_id": "$response.body#/user/id"},
                "list_sessions": {"user_id": "$response.body#/user/id"},
            },
        )
    },
    errors=(InvalidCredentials, LoginThrottled, HashingBusy),
    body=LogInBody,
    body_limit_bytes=LOGIN_BODY_LIMIT_BYTES,
)
async def log_in(
    request: OperationRequest, database: Database, reads: Reads, hasher: PasswordHasher, policies: Policies
) -> Response:
    """Open a session for a login id or address and a password, or for a code."""
    body = request.body(LogInBody)
    body.require_one_way()
    device_token = None if body.device_token is UNSET else body.device_token
    if body.code_token is not UNSET and body.code is not UNSET:
        opened = await log_in_by_code(
            database,
            CodeLogin(body.code_token, body.code, device_token, _replaced_digest(request)),
            context=request.context,
            policies=policies,
        )
    else:
        login_id = await _login_id_of(body, reads)
        password = "" if body.password is UNSET else body.password
        opened = await login.log_in(
            database,
            reads,
            LoginRequest(login_id, password, device_token, _replaced_digest(request)),
            hasher=hasher,
            context=request.context,
            policies=policies,
        )
    session = SessionView.of(opened.session, opened.session.id)
    view = LoggedInView(opened.token, session, UserView.of(opened.user), opened.device_token)
    return created(view, f"/v1/sessions/{session.id}")


def _replaced_digest(request: OperationRequest) -> bytes | None:
    token = bearer_token(request.header(b"authorization") or "")
    return digest_of(token, SESSION_PREFIX) if token is not None else None


async def _login_id_of(body: LogInBody, reads: Reads) -> str:
    """Return the login id that was sent, or that of the user who has verified the address.

    Without one, return what cannot be a login id, and is throttled like one.
    """
    if body.login_id is not UNSET:
        return body.login_id
    email = canonical_email("" if body.email is UNSET else body.email)
    user = await reads.emails.get_by_verified(email or "")
    return user.login_id if user is not None else f"address {email}"
