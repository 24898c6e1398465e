"""Sessions: log in, look, log out."""

from typing import Any

from litestar import Controller, HttpMethod, Request, Response
from msgspec import UNSET

from service.api.cursors import read_cursor, write_cursor
from service.api.injection import GivenReads, GivenUow, Parts
from service.api.operations import LOGIN_BODY_LIMIT_BYTES, Operation, ResponseSpec, endpoint
from service.api.pagination import cursor_scope, page_answer
from service.api.pipeline import OperationRequest, call_of, direct_endpoint
from service.api.responses import Answer, created, nothing, require_if_match, resource
from service.api.schemas.common import PageQuery
from service.api.schemas.sessions import (
    CurrentSessionView,
    EndSessionsQuery,
    LoggedInView,
    LogInBody,
    SessionPage,
    SessionView,
)
from service.api.schemas.users import UserView
from service.domain.callers import Access
from service.domain.errors import (
    Forbidden,
    HashingBusy,
    InvalidCredentials,
    InvalidCursor,
    LoginThrottled,
    NotFound,
)
from service.domain.keys import Scope
from service.domain.sessions import AuthenticatedSession
from service.usecases.sessions import LoginRequest, end_session, end_sessions, log_in, log_out

_LINKS = {
    "end_session": {"session_id": "$response.body#/session/id"},
    "get_user": {"user_id": "$response.body#/user/id"},
    "list_sessions": {"user_id": "$response.body#/user/id"},
}

LOG_IN = Operation(
    id="log_in",
    summary="Log in",
    description="Every failure is the same 401, in the same time.",
    tag="sessions",
    access=Access(public=True),
    answers={
        201: ResponseSpec("The new session with its tokens, shown this once.", LoggedInView, links=_LINKS)
    },
    problems=(InvalidCredentials, LoginThrottled, HashingBusy),
    body=LogInBody,
    body_limit_bytes=LOGIN_BODY_LIMIT_BYTES,
)
GET_CURRENT_SESSION = Operation(
    id="get_current_session",
    summary="Get the session that asks",
    tag="sessions",
    access=Access(owner=True),
    answers={200: ResponseSpec("The session and its account.", CurrentSessionView, ("ETag",))},
    is_conditional_read=True,
)
LOG_OUT = Operation(
    id="log_out",
    summary="Log out",
    tag="sessions",
    access=Access(owner=True, allowed_during_forced_change=True),
    answers={204: ResponseSpec("The session has ended.")},
    is_conditional_write=True,
)
LIST_SESSIONS = Operation(
    id="list_sessions",
    summary="List the sessions of an account",
    tag="sessions",
    access=Access(owner=True, admin=True),
    answers={200: ResponseSpec("A page of sessions, oldest first.", SessionPage, ("Link",))},
    problems=(NotFound, InvalidCursor),
    query=PageQuery,
)
END_SESSIONS = Operation(
    id="end_sessions",
    summary="End the sessions of an account",
    tag="sessions",
    access=Access(owner=True, admin=True, scope=Scope.USERS_WRITE),
    answers={204: ResponseSpec("They have ended.")},
    problems=(NotFound,),
    query=EndSessionsQuery,
)
END_SESSION = Operation(
    id="end_session",
    summary="End a session",
    tag="sessions",
    access=Access(owner=True, admin=True),
    answers={204: ResponseSpec("It has ended.")},
    problems=(NotFound,),
)


class SessionController(Controller):
    """Sessions, under `/v1/sessions` and `/v1/users/{user_id}/sessions`."""

    path = "/v1"

    @endpoint(HttpMethod.DELETE, "/sessions/current", LOG_OUT)
    async def log_out(self, request: Request[Any, Any, Any], uow: GivenUow) -> Response[None]:
        """End the session that asks."""
        call = call_of(request)
        own = _own(call)
        require_if_match(_current(own), call.headers)
        await uow.run(lambda tx: log_out(tx, own.session, context=call.context))
        return nothing()

    @endpoint(HttpMethod.DELETE, "/sessions/{session_id:str}", END_SESSION)
    async def end_session(self, request: Request[Any, Any, Any], uow: GivenUow) -> Response[None]:
        """End one session."""
        call = call_of(request)
        session_id = call.id_in_path("session_id")
        await uow.run(lambda tx: end_session(tx, session_id, context=call.context))
        return nothing()

    @endpoint(HttpMethod.GET, "/users/{user_id:str}/sessions", LIST_SESSIONS)
    async def list_sessions(self, request: Request[Any, Any, Any], reads: GivenReads) -> Response[bytes]:
        """List the live sessions of an account."""
        call = call_of(request)
        user_id, query = call.subject_id(), call.query(PageQuery)
        listing, recent = cursor_scope(call, user_id), reads.at(call.caller.wal_position)
        if user_id != call.caller.user_id and await recent.users.get(user_id) is None:
            raise NotFound
        page = await recent.sessions.list_page(
            user_id, after=read_cursor(query.cursor, listing), limit=query.limit
        )
        own = call.caller.authenticated_session
        current_id = own.session.id if own is not None else None
        next_cursor = write_cursor(page.next, listing)
        items = [SessionView.of(session, current_id) for session in page.items]
        return page_answer(call, SessionPage(items, next_cursor), next_cursor)

    @endpoint(HttpMethod.DELETE, "/users/{user_id:str}/sessions", END_SESSIONS)
    async def end_sessions(self, request: Request[Any, Any, Any], uow: GivenUow) -> Response[None]:
        """End the sessions of an account, but for the current one if it is to be kept."""
        call = call_of(request)
        user_id, query, own = (
            call.subject_id(),
            call.query(EndSessionsQuery),
            call.caller.authenticated_session,
        )
        kept_id = own.session.id if own is not None and query.keep == "current" else None
        await uow.run(lambda tx: end_sessions(tx, user_id, kept_id=kept_id, context=call.context))
        return nothing()


@direct_endpoint(HttpMethod.POST, "/v1/sessions", LOG_IN)
async def open_session(call: OperationRequest, parts: Parts) -> Answer:
    """Log in."""
    body = call.body(LogInBody)
    wanted = LoginRequest(
        body.login_id, body.password, None if body.device_token is UNSET else body.device_token
    )
    opened = await log_in(
        parts.make_uow(),
        parts.reads,
        wanted,
        hasher=parts.hasher,
        context=call.context,
        policies=parts.policies,
    )
    session = SessionView.of(opened.session, opened.session.id)
    return created(LoggedInView(opened.token, session, UserView.of(opened.user), opened.device_token))


@direct_endpoint(HttpMethod.GET, "/v1/sessions/current", GET_CURRENT_SESSION)
async def get_current_session(call: OperationRequest, _parts: Parts) -> Answer:
    """Show the session that asks; authentication has read it already."""
    return resource(_current(_own(call)), call.fields)


def _own(call: OperationRequest) -> AuthenticatedSession:
    """Give the session behind the call, which its operation grants to sessions only."""
    own = call.caller.authenticated_session
    if own is None:
        raise Forbidden
    return own


def _current(own: AuthenticatedSession) -> CurrentSessionView:
    return CurrentSessionView(SessionView.of(own.session, own.session.id), UserView.of(own.user))
