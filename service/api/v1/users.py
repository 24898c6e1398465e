"""Accounts: create, list, read, change, delete."""

from datetime import datetime
from typing import Any

from litestar import Controller, HttpMethod, Request, Response
from msgspec import UNSET

from service.api.cursors import read_cursor, write_cursor
from service.api.idempotency import idempotency_key_of, replay, run_once
from service.api.injection import GivenPolicies, GivenReads, GivenUow, Parts
from service.api.operations import JSON, MERGE_PATCH, Operation, ResponseSpec, endpoint
from service.api.pagination import cursor_scope, page_answer
from service.api.pipeline import OperationRequest, call_of, direct_endpoint
from service.api.responses import Answer, if_match_check, nothing, resource, tagged
from service.api.schemas.common import in_utc
from service.api.schemas.users import CreateUserBody, ListUsersQuery, UpdateUserBody, UserPage, UserView
from service.db.transaction import Tx
from service.domain.callers import Access
from service.domain.errors import (
    FieldError,
    HashingBusy,
    InvalidCursor,
    LastAdmin,
    LoginIdTaken,
    NotFound,
    ReauthenticationRequired,
    ValidationFailed,
)
from service.domain.keys import Scope
from service.domain.pages import UserFilter
from service.domain.unicode import nfc
from service.domain.users import LoginIdCharset, User, UserPatch, canonical_login_id
from service.usecases.users import (
    Registration,
    check_change,
    create_user,
    delete_user,
    prepare_user,
    update_user,
)

_ID = {"user_id": "$response.body#/id"}
_LINKS = {
    "get_user": _ID,
    "update_user": _ID,
    "delete_user": _ID,
    "change_password": _ID,
    "create_reset_token": _ID,
    "list_sessions": _ID,
    "end_sessions": _ID,
}

CREATE_USER = Operation(
    id="create_user",
    summary="Create an account",
    description="`password_hash`, `role` and `state` are for administrators and API keys only.",
    tag="users",
    access=Access(admin=True, scope=Scope.USERS_WRITE),
    answers={201: ResponseSpec("The new account.", UserView, ("Location", "ETag"), links=_LINKS)},
    problems=(LoginIdTaken, HashingBusy),
    body=CreateUserBody,
    is_idempotent_by_key=True,
)
_NEXT = {"list_users": {"cursor": "$response.body#/next_cursor"}}
LIST_USERS = Operation(
    id="list_users",
    summary="List accounts",
    tag="users",
    access=Access(admin=True, scope=Scope.USERS_READ),
    answers={200: ResponseSpec("A page of accounts.", UserPage, ("Link",), links=_NEXT)},
    problems=(InvalidCursor,),
    query=ListUsersQuery,
)
GET_USER = Operation(
    id="get_user",
    summary="Get an account",
    tag="users",
    access=Access(self_=True, admin=True, scope=Scope.USERS_READ),
    answers={200: ResponseSpec("The account.", UserView, ("ETag",))},
    problems=(NotFound,),
    is_conditional_read=True,
)
UPDATE_USER = Operation(
    id="update_user",
    summary="Change an account",
    description="A merge patch. One's own name; everything else by administrators and API keys. Disabling "
    "ends every session of the account.",
    tag="users",
    access=Access(self_=True, admin=True, scope=Scope.USERS_WRITE),
    answers={200: ResponseSpec("The changed account.", UserView, ("ETag",))},
    problems=(NotFound, LoginIdTaken, LastAdmin),
    body=UpdateUserBody,
    body_types=(MERGE_PATCH, JSON),
    is_conditional_write=True,
)
DELETE_USER = Operation(
    id="delete_user",
    summary="Delete an account",
    description="The account and everything that hangs on it is gone. One's own needs a recent log-in.",
    tag="users",
    access=Access(self_=True, admin=True, scope=Scope.USERS_WRITE),
    answers={204: ResponseSpec("It is gone.")},
    problems=(NotFound, LastAdmin, ReauthenticationRequired),
    is_conditional_write=True,
)


class UserController(Controller):
    """`/v1/users`."""

    path = "/v1/users"

    @endpoint(HttpMethod.GET, "", LIST_USERS)
    async def list_users(
        self, request: Request[Any, Any, Any], reads: GivenReads, policies: GivenPolicies
    ) -> Response[bytes]:
        """List accounts."""
        call = call_of(request)
        query, listing = call.query(ListUsersQuery), cursor_scope(call)
        page = await reads.at(call.caller.wal_position).users.list_page(
            _filter(query, policies.login_ids),
            sort=query.sort,
            after=read_cursor(query.cursor, listing),
            limit=query.limit,
        )
        next_cursor = write_cursor(page.next, listing)
        return page_answer(call, UserPage(list(map(UserView.of, page.items)), next_cursor), next_cursor)

    @endpoint(HttpMethod.PATCH, "/{user_id:str}", UPDATE_USER)
    async def update_user(
        self, request: Request[Any, Any, Any], uow: GivenUow, policies: GivenPolicies
    ) -> Response[bytes]:
        """Change an account."""
        call = call_of(request)
        user_id, precondition = call.subject_id(), if_match_check(call.headers)
        change = check_change(
            _change(call.body(UpdateUserBody)), caller=call.caller, charset=policies.login_ids
        )
        changed = await uow.run(
            lambda tx: update_user(
                tx, user_id, change, context=call.context, policies=policies, precondition=precondition
            )
        )
        return tagged(UserView.of(changed)).response()

    @endpoint(HttpMethod.DELETE, "/{user_id:str}", DELETE_USER)
    async def delete_user(
        self, request: Request[Any, Any, Any], uow: GivenUow, policies: GivenPolicies
    ) -> Response[None]:
        """Delete an account."""
        call = call_of(request)
        user_id, precondition = call.subject_id(), if_match_check(call.headers)
        await uow.run(
            lambda tx: delete_user(
                tx, user_id, context=call.context, policies=policies, precondition=precondition
            )
        )
        return nothing()


@direct_endpoint(HttpMethod.POST, "/v1/users", CREATE_USER)
async def add_user(call: OperationRequest, parts: Parts) -> Answer:
    """Create an account, once per idempotency key."""
    uow, claim, context = parts.make_uow(), idempotency_key_of(call), call.context
    call.body_bytes = b""  # up to 64 KiB that nobody needs any more, and many may wait for their turn
    if claim is not None and (known := await uow.run(lambda tx: replay(tx, claim))) is not None:
        return known
    wanted = _registration(call.body(CreateUserBody))
    new = await prepare_user(wanted, hasher=parts.hasher, context=context, policies=parts.policies)

    async def create(tx: Tx) -> tuple[Answer, Answer]:
        created = _created(await create_user(tx, new, context=context))
        return created, created

    return await uow.run(lambda tx: run_once(tx, claim, create))


@direct_endpoint(HttpMethod.GET, "/v1/users/{user_id:str}", GET_USER)
async def get_user(call: OperationRequest, parts: Parts) -> Answer:
    """Get an account; one's own is already there from authentication."""
    user_id = call.subject_id()
    own = call.caller.authenticated_session
    if own is not None and own.user.id == user_id:
        return resource(UserView.of(own.user), call.fields)
    user = await parts.reads.at(call.caller.wal_position).users.get(user_id)
    if user is None:
        raise NotFound
    return resource(UserView.of(user), call.fields)


def _registration(body: CreateUserBody) -> Registration:
    return Registration(
        login_id=body.login_id,
        name=body.name,
        password=None if body.password is UNSET else body.password,
        password_hash=None if body.password_hash is UNSET else body.password_hash,
        role=None if body.role is UNSET else body.role,
        state=None if body.state is UNSET else body.state,
    )


def _change(body: UpdateUserBody) -> UserPatch:
    return UserPatch(
        name=None if body.name is UNSET else body.name,
        login_id=None if body.login_id is UNSET else body.login_id,
        role=None if body.role is UNSET else body.role,
        state=None if body.state is UNSET else body.state,
    )


def _filter(query: ListUsersQuery, charset: LoginIdCharset) -> UserFilter:
    return UserFilter(
        prefix=nfc(query.q) if query.q is not None else None,
        login_id=_exact(query.login_id, charset) if query.login_id is not None else None,
        state=query.state,
        role=query.role,
        created_after=_moment(query.created_after, "?created_after"),
        created_before=_moment(query.created_before, "?created_before"),
    )


def _exact(login_id: str, charset: LoginIdCharset) -> str:
    canonical = canonical_login_id(login_id, charset)
    if canonical is None:
        raise ValidationFailed(FieldError("?login_id", "invalid_value", charset.rule))
    return canonical


def _moment(at: datetime | None, pointer: str) -> datetime | None:
    return in_utc(at, pointer) if at is not None else None


def _created(user: User) -> Answer:
    return tagged(UserView.of(user), status=201, headers={"Location": f"/v1/users/{user.id}"})
