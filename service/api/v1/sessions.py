"""Sessions: read the current one, list and end."""

from functools import partial
from uuid import UUID

from msgspec import UNSET

from service.api.cookies import BY_COOKIE, set_cookie, with_cookie_cleared
from service.api.http.response import Response
from service.api.operations import LOGIN_BODY_LIMIT_BYTES, ResponseSpec, delete, get, post
from service.api.pagination import page_response
from service.api.preconditions import if_match_check, require_if_match
from service.api.requests import OperationRequest
from service.api.responses import conditional_get, no_content, ok
from service.api.schemas.common import PageQuery, given
from service.api.schemas.login import STEP_UP_EXAMPLES, SteppedUpView, StepUpBody
from service.api.schemas.sessions import CurrentSessionView, EndSessionsQuery, SessionPage, SessionView
from service.api.writes import Writes
from service.db.repositories.sessions import SessionReads
from service.db.repositories.users import UserReads
from service.domain.callers import Access
from service.domain.errors import LoginThrottled, NotFound, ReauthenticationRequired
from service.domain.keys import Scope
from service.usecases import sessions
from service.usecases.factor_proofs import FactorResponse
from service.usecases.open_session import LoginParts
from service.usecases.policies import Policies
from service.usecases.step_up import step_up as renew_session


@get(
    "/v1/sessions/current",
    description="The session of the token, and its user.",
    tag="sessions",
    access=Access(owner=True, allowed_during_enrollment=True),
    responses={200: ResponseSpec("The session and its user.", CurrentSessionView, ("ETag",))},
    is_conditional_read=True,
)
async def get_current_session(request: OperationRequest) -> Response:
    """Get the current session."""
    return conditional_get(request, CurrentSessionView.of(request.session))


@post(
    "/v1/sessions/current/step-up",
    description="With `totp`, or with `passkey` and the `challenge_id` of `create_passkey_challenge`. The "
    "session then counts as just logged in, with two factors: for operations that answered 403 "
    "`reauthentication_required`, or `factor_enrollment_required` where a factor is enrolled. It has another "
    "token from now on, in the cookie for a request with the cookie. A wrong factor is 422.",
    tag="sessions",
    access=Access(owner=True, allowed_during_enrollment=True),
    responses={200: ResponseSpec("The session and its new token.", SteppedUpView, ("Set-Cookie",))},
    errors=(LoginThrottled,),
    body=StepUpBody,
    body_examples=STEP_UP_EXAMPLES,
    body_limit_bytes=LOGIN_BODY_LIMIT_BYTES,
)
async def step_up(request: OperationRequest, parts: LoginParts) -> Response:
    """Show a factor again."""
    body = request.body(StepUpBody)
    body.require_one_way()
    response = FactorResponse(totp=given(body.totp), passkey=given(body.passkey))
    challenge_id = None if body.challenge_id is UNSET else UUID(body.challenge_id)
    renewed = await renew_session(parts, request.session, response, challenge_id, context=request.context)
    session = SessionView.of(renewed.session, renewed.session.id)
    if BY_COOKIE not in request.scope["state"]:
        return ok(SteppedUpView(token=renewed.token, session=session))
    lifetime = renewed.session.expires_at - renewed.session.auth_time
    return ok(SteppedUpView(session=session), set_cookie(renewed.token, lifetime))


@delete(
    "/v1/sessions/current",
    description="Ends the session of the token; the next request with it is rejected.",
    tag="sessions",
    access=Access(owner=True, allowed_during_forced_change=True),
    responses={204: ResponseSpec("The session has ended.", headers=("Set-Cookie",))},
    is_conditional_write=True,
)
async def log_out(request: OperationRequest, writes: Writes) -> Response:
    """Log out."""
    require_if_match(request.if_match, CurrentSessionView.of(request.session))
    session = request.session.session
    await writes.run(sessions.log_out, session, context=request.context)
    return with_cookie_cleared(no_content()) if BY_COOKIE in request.scope["state"] else no_content()


@get(
    "/v1/users/{user_id}/sessions",
    description="Only live ones, oldest first, without their tokens.",
    tag="sessions",
    access=Access(owner=True, admin=True),
    responses={200: ResponseSpec("A page of sessions, oldest first.", SessionPage, ("Link",))},
    query=PageQuery,
)
async def list_sessions(request: OperationRequest, users: UserReads, user_sessions: SessionReads) -> Response:
    """List the sessions of a user."""
    if request.own_user is None and await users.get(request.subject_id) is None:
        raise NotFound
    read = partial(user_sessions.list_page, request.subject_id)
    view_of = partial(SessionView.of, current_id=request.caller.session_id)
    return await page_response(request, read, SessionPage, view_of)


@delete(
    "/v1/users/{user_id}/sessions",
    description="All of them, or with `keep=current` all but the session of the token. For another user, a "
    "session needs a recent login; for an administrator, a key needs `admins:write` too.",
    tag="sessions",
    access=Access(owner=True, admin=True, scope=Scope.USERS_WRITE, fresh_for_others=True),
    responses={204: ResponseSpec("The sessions have ended.")},
    query=EndSessionsQuery,
)
async def end_sessions(request: OperationRequest, writes: Writes) -> Response:
    """End the sessions of a user."""
    keeps_current = request.query(EndSessionsQuery).keep == "current"
    kept_id = request.caller.session_id if keeps_current else None
    await writes.run(sessions.end_sessions, request.subject_id, kept_id=kept_id, context=request.context)
    return no_content()


@get(
    "/v1/sessions/{session_id}",
    description="One's own or, for administrators, anybody's, as long as it is live.",
    tag="sessions",
    access=Access(owner=True, admin=True),
    responses={200: ResponseSpec("The session.", SessionView, ("ETag",))},
    is_conditional_read=True,
)
async def get_session(request: OperationRequest, user_sessions: SessionReads) -> Response:
    """Get a session."""
    session = await sessions.get_session(user_sessions, request.subject_id, caller=request.caller)
    return conditional_get(request, SessionView.of(session, request.caller.session_id))


@delete(
    "/v1/sessions/{session_id}",
    description="One's own or, for administrators, anybody's: another user's needs a recent login.",
    tag="sessions",
    access=Access(owner=True, admin=True),
    responses={204: ResponseSpec("The session has ended.")},
    errors=(ReauthenticationRequired,),
    is_conditional_write=True,
)
async def end_session(request: OperationRequest, writes: Writes, policies: Policies) -> Response:
    """End a session."""
    view_of = partial(SessionView.of, current_id=request.caller.session_id)
    precondition = if_match_check(request.if_match, view_of)
    await writes.run(
        sessions.end_session,
        request.subject_id,
        context=request.context,
        policies=policies,
        precondition=precondition,
    )
    return no_content()
