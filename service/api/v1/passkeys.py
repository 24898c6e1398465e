"""Passkeys: add, list, rename and remove."""

from functools import partial
from uuid import UUID

from service.api.http.response import Response
from service.api.idempotency import Outcome, find_replay, run_once
from service.api.operations import JSON, MERGE_PATCH, ResponseSpec, delete, get, patch, post
from service.api.pagination import page_response
from service.api.preconditions import if_match_check
from service.api.requests import OperationRequest
from service.api.responses import created, created_with_etag, no_content, with_etag
from service.api.schemas.common import PageQuery
from service.api.schemas.passkeys import (
    AddPasskeyBody,
    PasskeyOptionsView,
    PasskeyPage,
    PasskeyView,
    UpdatePasskeyBody,
)
from service.api.writes import Writes
from service.db.core.transaction import Transaction
from service.db.repositories.passkeys import PasskeyReads
from service.domain.callers import Access
from service.domain.errors import NotFound, ValidationFailed
from service.usecases import passkeys
from service.usecases.factors import FactorParts

_BY_ID = {"passkey_id": "$response.body#/id"}


@post(
    "/v1/users/me/passkeys/options",
    description="Returns what a browser creates a passkey with. Those before no longer count. Needs a recent "
    "login. 404 unless `ROLLCALL_FACTORS__RP_ID` is set.",
    tag="factors",
    access=Access(owner=True, fresh=True, allowed_during_enrollment=True),
    responses={201: ResponseSpec("The options, for five minutes.", PasskeyOptionsView)},
    errors=(NotFound, ValidationFailed),
)
async def create_passkey_options(request: OperationRequest, factors: FactorParts) -> Response:
    """Begin to add a passkey."""
    return created(PasskeyOptionsView.of(await passkeys.begin_passkey(factors, context=request.context)))


@post(
    "/v1/users/me/passkeys",
    description="It can log in without a password, or as a second factor. The session has two factors from "
    "now on. The first second factor of a user ends all its other sessions. A challenge is good for one try. "
    "Needs a recent login. 404 unless `ROLLCALL_FACTORS__RP_ID` is set.",
    tag="factors",
    access=Access(owner=True, fresh=True, allowed_during_enrollment=True),
    responses={
        201: ResponseSpec(
            "The new passkey.",
            PasskeyView,
            ("Location", "ETag"),
            links={"update_passkey": _BY_ID, "remove_passkey": _BY_ID},
        )
    },
    errors=(NotFound,),
    body=AddPasskeyBody,
    is_idempotent_by_key=True,
)
async def add_passkey(request: OperationRequest, writes: Writes, factors: FactorParts) -> Response:
    """Add a passkey."""
    if (replay := await find_replay(request, writes)) is not None:
        return replay
    body, context = request.body(AddPasskeyBody), request.context
    verified = await passkeys.verify_passkey(
        factors, UUID(body.challenge_id), body.passkey, body.given_name, context=context
    )

    async def add(tx: Transaction) -> Outcome:
        passkey = await passkeys.add_passkey(tx, verified, context=context)
        response = created_with_etag(PasskeyView.of(passkey), f"/v1/users/me/passkeys/{passkey.id}")
        return Outcome(response, response, passkey.user_id)

    return await run_once(request, writes, add)


@get(
    "/v1/users/me/passkeys",
    description="Oldest first. Needs a recent login.",
    tag="factors",
    access=Access(owner=True, fresh=True),
    responses={200: ResponseSpec("A page of passkeys, oldest first.", PasskeyPage, ("Link",))},
    query=PageQuery,
)
async def list_passkeys(request: OperationRequest, own: PasskeyReads) -> Response:
    """List one's passkeys."""
    read = partial(own.list_page, request.session.user.id)
    return await page_response(request, read, PasskeyPage, PasskeyView.of)


@patch(
    "/v1/users/me/passkeys/{passkey_id}",
    description="Needs a recent login.",
    tag="factors",
    access=Access(owner=True, fresh=True),
    responses={200: ResponseSpec("The renamed passkey.", PasskeyView, ("ETag",))},
    body=UpdatePasskeyBody,
    body_types=(MERGE_PATCH, JSON),
    is_conditional_write=True,
)
async def update_passkey(request: OperationRequest, writes: Writes) -> Response:
    """Rename a passkey."""
    name = request.body(UpdatePasskeyBody).name
    precondition = if_match_check(request.if_match, PasskeyView.of)
    renamed = await writes.run(
        passkeys.rename_passkey, request.subject_id, name, context=request.context, precondition=precondition
    )
    return with_etag(PasskeyView.of(renamed))


@delete(
    "/v1/users/me/passkeys/{passkey_id}",
    description="The last second factor takes the recovery codes with it. Needs a recent login.",
    tag="factors",
    access=Access(owner=True, fresh=True),
    responses={204: ResponseSpec("The passkey is removed.")},
    is_conditional_write=True,
)
async def remove_passkey(request: OperationRequest, writes: Writes) -> Response:
    """Remove a passkey."""
    precondition = if_match_check(request.if_match, PasskeyView.of)
    await writes.run(
        passkeys.remove_passkey, request.subject_id, context=request.context, precondition=precondition
    )
    return no_content()
