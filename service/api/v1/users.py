"""Users: create, list, read, update and delete."""

from collections.abc import Callable
from functools import partial
from uuid import UUID

from service.api.http.response import Response
from service.api.idempotency import Outcome, find_replay, run_once
from service.api.operations import JSON, MERGE_PATCH, ResponseSpec, delete, get, patch, post
from service.api.pagination import page_response
from service.api.preconditions import if_match_check
from service.api.requests import OperationRequest
from service.api.responses import conditional_get, created_with_etag, no_content, ok, with_etag
from service.api.schemas.common import EARLIEST, given, in_utc
from service.api.schemas.users import (
    CreateUserBody,
    ListUsersQuery,
    UpdateUserBody,
    UserPage,
    UserView,
    details_of,
)
from service.api.writes import Writes
from service.db.core.database import Database
from service.db.core.transaction import Transaction
from service.db.repositories.users import UserReads
from service.domain.callers import Access
from service.domain.details import canonical_external_id
from service.domain.emails import EMAIL_RULE, canonical_email
from service.domain.errors import (
    EmailTaken,
    ExternalIdTaken,
    FieldError,
    HashingBusy,
    LastAdmin,
    LoginIdTaken,
    NotFound,
    ReauthenticationRequired,
    RegistrationThrottled,
    ValidationFailed,
)
from service.domain.ids import parse_id
from service.domain.keys import Scope
from service.domain.pages import UserFilter
from service.domain.unicode import nfc
from service.domain.users import LoginIdCharset, UserPatch, canonical_login_id
from service.security.hashing.hasher import PasswordHasher
from service.security.mail_tokens import MailTokens
from service.usecases import users
from service.usecases.mail_requests import invite
from service.usecases.policies import Policies
from service.usecases.registration import prepare_own_user

_BY_ID = {"user_id": "$response.body#/id"}
_LINKS = {
    "get_user": _BY_ID,
    "update_user": _BY_ID,
    "delete_user": _BY_ID,
    "change_password": _BY_ID,
    "create_reset_token": _BY_ID,
    "list_sessions": _BY_ID,
    "end_sessions": _BY_ID,
}


@post(
    "/v1/users",
    description="`password_hash`, `role`, `state`, `must_change`, `invite`, `email_verified`, `external_id`, "
    "`metadata`: administrators and API keys only. To create an administrator, a session needs a recent "
    "login, and a key `admins:write` too. Where registration is open, everybody else needs a `password`.",
    tag="users",
    access=Access(admin=True, scope=Scope.USERS_WRITE),
    responses={201: ResponseSpec("The new user.", UserView, ("Location", "ETag"), links=_LINKS)},
    errors=(
        LoginIdTaken,
        EmailTaken,
        ExternalIdTaken,
        RegistrationThrottled,
        HashingBusy,
        ReauthenticationRequired,
    ),
    body=CreateUserBody,
    is_idempotent_by_key=True,
)
async def create_user(
    request: OperationRequest,
    database: Database,
    writes: Writes,
    hasher: PasswordHasher,
    policies: Policies,
    tokens: MailTokens,
) -> Response:
    """Create a user."""
    if (replay := await find_replay(request, writes)) is not None:
        return replay
    context = request.context
    registration = _registration(request.body(CreateUserBody))
    if users.creates_for_others(request.caller):
        new = await users.prepare_user(registration, hasher=hasher, context=context, policies=policies)
    else:
        new = await prepare_own_user(
            database, registration, hasher=hasher, context=context, policies=policies
        )

    async def create(tx: Transaction) -> Outcome:
        user = await users.create_user(tx, new, context=context)
        if registration.invite:
            await invite(tx, user, context=context, tokens=tokens)
        response = created_with_etag(UserView.of(user), f"/v1/users/{user.id}")
        return Outcome(response, response, user.id)

    return await run_once(request, writes, create)


@get(
    "/v1/users",
    description="A page of those that match the filter, or those with up to 100 ids: `?id=…&id=…`.",
    tag="users",
    access=Access(admin=True, scope=Scope.USERS_READ),
    responses={
        200: ResponseSpec(
            "A page of users.",
            UserPage,
            ("Link",),
            links={"list_users": {"cursor": "$response.body#/next_cursor"}},
        )
    },
    query=ListUsersQuery,
)
async def list_users(request: OperationRequest, user_reads: UserReads, policies: Policies) -> Response:
    """List users."""
    query = request.query(ListUsersQuery)
    if query.id is not None:
        found = await user_reads.get_many(_requested_ids(query, query.id))
        return ok(UserPage([UserView.of(user) for user in found], None))
    read = partial(user_reads.list_page, _filter(query, policies.login_ids), sort=query.sort)
    return await page_response(request, read, UserPage, UserView.of)


@get(
    "/v1/users/{user_id}",
    description="One's own or, for administrators and API keys, anybody's.",
    tag="users",
    access=Access(owner=True, admin=True, scope=Scope.USERS_READ),
    responses={200: ResponseSpec("The user.", UserView, ("ETag",))},
    is_conditional_read=True,
)
async def get_user(request: OperationRequest, user_reads: UserReads) -> Response:
    """Get a user."""
    user = request.own_user or await user_reads.get(request.subject_id)
    if user is None:
        raise NotFound
    return conditional_get(request, UserView.of(user))


@patch(
    "/v1/users/{user_id}",
    description="A merge patch. One's own `name`, `locale` and `email`, which is pending until it is "
    "verified; everything else by administrators and API keys. Disabling and another role end every session "
    "of the user. Role, login id and address need a recent login. To change an administrator, or to make "
    "one, a key needs `admins:write` too.",
    tag="users",
    access=Access(owner=True, admin=True, scope=Scope.USERS_WRITE),
    responses={
        200: ResponseSpec("The updated user.", UserView, ("ETag",)),
        204: ResponseSpec("The user is updated. For a key without `users:read`."),
    },
    errors=(LoginIdTaken, EmailTaken, ExternalIdTaken, LastAdmin, ReauthenticationRequired),
    body=UpdateUserBody,
    body_types=(MERGE_PATCH, JSON),
    is_conditional_write=True,
)
async def update_user(request: OperationRequest, writes: Writes, policies: Policies) -> Response:
    """Update a user."""
    precondition = if_match_check(request.if_match, UserView.of)
    wanted = _patch(request.body(UpdateUserBody))
    change = users.check_change(wanted, caller=request.caller, policies=policies)
    user = await writes.run(
        users.update_user, request.subject_id, change, context=request.context, precondition=precondition
    )
    if request.caller.key is not None and not request.caller.has_scope(Scope.USERS_READ):
        return no_content()
    return with_etag(UserView.of(user))


@delete(
    "/v1/users/{user_id}",
    description="The user and everything that belongs to it is gone, including API keys that it created. "
    "Needs a recent login. To delete an administrator, a key needs `admins:write` too.",
    tag="users",
    access=Access(owner=True, admin=True, scope=Scope.USERS_WRITE, fresh=True),
    responses={204: ResponseSpec("The user is gone.")},
    errors=(LastAdmin,),
    is_conditional_write=True,
)
async def delete_user(request: OperationRequest, writes: Writes) -> Response:
    """Delete a user."""
    precondition = if_match_check(request.if_match, UserView.of)
    await writes.run(
        users.delete_user, request.subject_id, context=request.context, precondition=precondition
    )
    return no_content()


def _registration(body: CreateUserBody) -> users.Registration:
    return users.Registration(
        login_id=body.login_id,
        name=body.name,
        password=given(body.password),
        password_hash=given(body.password_hash),
        role=given(body.role),
        state=given(body.state),
        must_change=given(body.must_change),
        details=details_of(body),
        invite=body.invite is True,
    )


def _patch(body: UpdateUserBody) -> UserPatch:
    return UserPatch(
        name=given(body.name),
        login_id=given(body.login_id),
        role=given(body.role),
        state=given(body.state),
        details=details_of(body),
    )


def _requested_ids(query: ListUsersQuery, texts: list[str]) -> list[UUID]:
    """Return the ids of a batch read.

    Raises:
        ValidationFailed: an id is misspelt, or comes with a cursor, a sort or a filter.
    """
    if query != ListUsersQuery(id=texts, limit=query.limit):
        raise ValidationFailed(FieldError("?id", "conflicting_fields", "Ids exclude every filter and sort."))
    ids = [parse_id(text) for text in texts]
    if None in ids:
        raise ValidationFailed(FieldError("?id", "invalid_value", "An id is a UUID in lower case."))
    return [user_id for user_id in ids if user_id is not None]


def _filter(query: ListUsersQuery, charset: LoginIdCharset) -> UserFilter:
    created_after = query.created_after if query.created_after != EARLIEST else None  # Go's zero time
    return UserFilter(
        prefix=nfc(query.q) if query.q is not None else None,
        login_id=_canonical(
            query.login_id, partial(canonical_login_id, charset=charset), "login_id", charset.rule
        ),
        email=_canonical(query.email, canonical_email, "email", EMAIL_RULE),
        external_id=_canonical(query.external_id, canonical_external_id, "external_id", ""),
        state=query.state,
        role=query.role,
        created_after=in_utc(created_after, "?created_after"),
        created_before=in_utc(query.created_before, "?created_before"),
    )


def _canonical(raw: str | None, function: Callable[[str], str | None], name: str, rule: str) -> str | None:
    if raw is None:
        return None
    canonical = function(raw)
    if canonical is None:
        raise ValidationFailed(FieldError(f"?{name}", "invalid_value", rule))
    return canonical
