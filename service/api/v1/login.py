"""Login."""

from uuid import UUID

from msgspec import UNSET

from service.api.authentication import bearer_token
from service.api.cookies import CookieSessions, set_cookie
from service.api.http.response import Response
from service.api.operations import LOGIN_BODY_LIMIT_BYTES, ResponseSpec, post
from service.api.requests import OperationRequest
from service.api.responses import created
from service.api.schemas.common import given
from service.api.schemas.login import LOGIN_EXAMPLES, LoggedInView, LogInBody, PasskeyChallengeView
from service.api.schemas.sessions import SessionView
from service.api.schemas.users import UserView
from service.domain.callers import Access
from service.domain.errors import (
    FieldError,
    Forbidden,
    HashingBusy,
    InvalidCredentials,
    LoginThrottled,
    NotFound,
    RateLimited,
    SecondFactorRequired,
    ValidationFailed,
)
from service.security.tokens import SESSION_PREFIX, digest_of
from service.usecases import login
from service.usecases.factor_proofs import FactorResponse
from service.usecases.login import LoginRequest
from service.usecases.login_codes import CodeLogin, log_in_by_code
from service.usecases.open_session import Client, LoggedIn, LoginParts
from service.usecases.passkey_login import PasskeyRequest, log_in_by_passkey
from service.usecases.passkey_login import create_passkey_challenge as create_challenge
from service.usecases.second_factor import SecondFactorLogin, log_in_by_second_factor


@post(
    "/v1/sessions",
    description="With `login_id` or a verified `email` and `password`, with a `code` from a mail and the "
    "`code_token` that came when it was asked for, or with a `passkey` and the `challenge_id` of "
    "`create_passkey_challenge`. If the first two are right and the user has a second factor: 403 "
    "`second_factor_required`; then with its `challenge` and `totp`, `recovery_code` or `passkey`. Every "
    "failure is the same 401, in the same time. With a "
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
    errors=(InvalidCredentials, SecondFactorRequired, LoginThrottled, HashingBusy, Forbidden),
    body=LogInBody,
    body_examples=LOGIN_EXAMPLES,
    body_limit_bytes=LOGIN_BODY_LIMIT_BYTES,
)
async def log_in(request: OperationRequest, parts: LoginParts, cookies: CookieSessions) -> Response:
    """Log in."""
    body = request.body(LogInBody)
    body.require_one_way()
    if body.cookie:
        _require_cookies(request, cookies)
    opened = await _open_session(request, body, parts)
    session = opened.session
    view = LoggedInView(
        token=UNSET if body.cookie else opened.token,
        session=SessionView.of(session, session.id),
        user=UserView.of(opened.user),
        device_token=opened.device_token,
    )
    cookie = set_cookie(opened.token, session.expires_at - session.created_at) if body.cookie else ()
    return created(view, f"/v1/sessions/{session.id}", cookie)


@post(
    "/v1/passkey-challenges",
    description="What the browser needs to ask for a passkey, whoever has it: also for the suggestions in a "
    'form (`mediation: "conditional"`), and for `step_up`. Then `log_in` with `challenge_id` and `passkey`. '
    "404 unless `ROLLCALL_FACTORS__RP_ID` and `ROLLCALL_FACTORS__ORIGINS` are set.",
    tag="sessions",
    access=Access(public=True),
    responses={201: ResponseSpec("The challenge, good for one try.", PasskeyChallengeView)},
    errors=(NotFound, RateLimited),
)
async def create_passkey_challenge(request: OperationRequest, parts: LoginParts) -> Response:
    """Begin a login by passkey."""
    challenge = await create_challenge(parts, context=request.context)
    return created(PasskeyChallengeView(challenge.id, dict(challenge.public_key)))


async def _open_session(request: OperationRequest, body: LogInBody, parts: LoginParts) -> LoggedIn:
    """Log in by the way that was sent."""
    client = Client(request.context, given(body.device_token), _replaced_digest(request))
    if body.code_token is not UNSET and body.code is not UNSET:
        return await log_in_by_code(parts, CodeLogin(body.code_token, body.code), client)
    if body.challenge is not UNSET:
        factor = FactorResponse(given(body.totp), given(body.recovery_code), given(body.passkey))
        return await log_in_by_second_factor(parts, SecondFactorLogin(body.challenge, factor), client)
    if body.challenge_id is not UNSET and body.passkey is not UNSET:
        by_passkey = PasskeyRequest(UUID(body.challenge_id), body.passkey)
        return await log_in_by_passkey(parts, by_passkey, client)
    by_password = LoginRequest(given(body.login_id) or "", given(body.password) or "", given(body.email))
    return await login.log_in(parts, by_password, client)


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
