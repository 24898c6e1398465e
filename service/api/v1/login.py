"""Login."""

from http import HTTPMethod

from msgspec import UNSET

from service.api.authentication import bearer_token
from service.api.cookies import CookieSessions, set_cookie
from service.api.http.response import HeaderFields, Response
from service.api.operations import LOGIN_BODY_LIMIT_BYTES, Operation, ResponseSpec
from service.api.requests import OperationRequest
from service.api.responses import created
from service.api.schemas.login import LoggedInView, LogInBody
from service.api.schemas.sessions import SessionView
from service.api.schemas.users import UserView
from service.db.reads import Reads
from service.domain.callers import Access
from service.domain.emails import canonical_email
from service.domain.errors import (
    FieldError,
    Forbidden,
    HashingBusy,
    InvalidCredentials,
    LoginThrottled,
    ValidationFailed,
)
from service.security.tokens import SESSION_PREFIX, digest_of
from service.usecases import login
from service.usecases.login import LoggedIn, LoginParts, LoginRequest
from service.usecases.login_codes import CodeLogin, log_in_by_code


@Operation(
    "log_in",
    HTTPMethod.POST,
    "/v1/sessions",
    summary="Log in",
    description="With `login_id` or a verified `email` and `password`, or with a `code` from a mail and the "
    "`code_token` that came when it was asked for. Every failure is the same 401, in the same time. With a "
    "session token of the same user in `Authorization`, that session ends; any other token is ignored. With "
    "`cookie` the token is in the cookie `__Host-rollcall` alone, where `ROLLCALL_HTTP__COOKIES` is set.",
    tag="sessions",
    access=Access(public=True),
    responses={
        201: ResponseSpec(
            "The new session with its tokens, shown this once.",
            LoggedInView,
            ("Location", "Set-Cookie"),
            links={
                "get_session": {"session_id": "$response.body#/session/id"},
                "end_session": {"session_id": "$response.body#/session/id"},
                "get_user": {"user_id": "$response.body#/user/id"},
                "list_sessions": {"user_id": "$response.body#/user/id"},
            },
        )
    },
    errors=(InvalidCredentials, LoginThrottled, HashingBusy, Forbidden),
    body=LogInBody,
    body_limit_bytes=LOGIN_BODY_LIMIT_BYTES,
)
async def log_in(request: OperationRequest, parts: LoginParts, cookies: CookieSessions) -> Response:
    """Open a session for a login id or address and a password, or for a code."""
    body = request.body(LogInBody)
    body.require_one_way()
    if body.cookie:
        _require_cookies(request, cookies)
    opened = await _open_session(request, body, parts)
    session = SessionView.of(opened.session, opened.session.id)
    view = LoggedInView(
        token=UNSET if body.cookie else opened.token,
        session=session,
        user=UserView.of(opened.user),
        device_token=opened.device_token,
    )
    return created(view, f"/v1/sessions/{session.id}", _cookie_for(opened) if body.cookie else ())


async def _open_session(request: OperationRequest, body: LogInBody, parts: LoginParts) -> LoggedIn:
    """Log in by the way that was sent."""
    device_token = None if body.device_token is UNSET else body.device_token
    replaced_digest, context = _replaced_digest(request), request.context
    if body.code_token is not UNSET and body.code is not UNSET:
        by_code = CodeLogin(body.code_token, body.code, device_token, replaced_digest)
        return await log_in_by_code(parts, by_code, context=context)
    login_id, unverified = await _name_of(body, parts.reads)
    password = "" if body.password is UNSET else body.password
    by_password = LoginRequest(login_id, password, device_token, replaced_digest, unverified)
    return await login.log_in(parts, by_password, context=context)


async def _name_of(body: LogInBody, reads: Reads) -> tuple[str, str | None]:
    """Return the login id that was sent, or that of the user who has verified the address.

    Without one, return none, and the canonical address.
    """
    if body.login_id is not UNSET:
        return body.login_id, None
    email = canonical_email("" if body.email is UNSET else body.email)
    user = await reads.emails.get_by_verified(email or "")
    return (user.login_id, None) if user is not None else ("", email)


def _cookie_for(opened: LoggedIn) -> HeaderFields:
    """Return the cookie of a new session, which lasts as long as the session may."""
    return set_cookie(opened.token, opened.session.expires_at - opened.session.created_at)


def _require_cookies(request: OperationRequest, cookies: CookieSessions) -> None:
    """Check that the cookie may be set: a page of another site must not log its visitor in.

    Raises:
        ValidationFailed: cookies are not enabled.
        Forbidden: the page that asks is not of an allowed origin.
    """
    if not cookies.is_enabled:
        raise ValidationFailed(FieldError("/cookie", "not_enabled", "Session cookies are not enabled here."))
    cookies.require_allowed_page(request.fields)


def _replaced_digest(request: OperationRequest) -> bytes | None:
    token = bearer_token(request.header(b"authorization") or "")
    return digest_of(token, SESSION_PREFIX) if token is not None else None
