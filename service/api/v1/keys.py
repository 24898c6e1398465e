"""API keys: create, list, read and revoke."""

from service.api.http.response import Response
from service.api.idempotency import Outcome, run_once
from service.api.operations import ResponseSpec, delete, get, post
from service.api.pagination import page_response
from service.api.preconditions import if_match_check
from service.api.requests import OperationRequest
from service.api.responses import conditional_get, created, no_content
from service.api.schemas.common import PageQuery, given, in_utc
from service.api.schemas.keys import ApiKeyPage, ApiKeyView, CreatedKeyView, CreateKeyBody
from service.api.writes import Writes
from service.db.core.transaction import Transaction
from service.db.repositories.keys import ApiKeyReads
from service.domain.callers import Access
from service.domain.errors import NotFound
from service.usecases import keys
from service.usecases.policies import Policies

_BY_ID = {"key_id": "$response.body#/api_key/id"}


@post(
    "/v1/keys",
    description="The key is shown once: a repetition under the same `Idempotency-Key` has `key: null`. It is "
    "revoked when the administrator who created it is deleted, disabled or demoted. Needs a recent login.",
    tag="keys",
    access=Access(admin=True, fresh=True),
    responses={
        201: ResponseSpec(
            "The new key, shown this once.",
            CreatedKeyView,
            ("Location",),
            links={"get_key": _BY_ID, "revoke_key": _BY_ID},
        )
    },
    body=CreateKeyBody,
    is_idempotent_by_key=True,
)
async def create_key(request: OperationRequest, writes: Writes, policies: Policies) -> Response:
    """Create an API key."""
    body, context = request.body(CreateKeyBody), request.context
    expires_at = in_utc(given(body.expires_at), "/expires_at")

    async def create(tx: Transaction) -> Outcome:
        token, key = await keys.create_key(
            tx,
            name=body.name,
            scopes=tuple(body.scopes),
            expires_at=expires_at,
            context=context,
            policies=policies,
        )
        view, location = ApiKeyView.of(key), f"/v1/keys/{key.id}"
        stored = created(CreatedKeyView(None, view), location)
        return Outcome(created(CreatedKeyView(token.value, view), location), stored, context.caller.user_id)

    return await run_once(request, writes, create)


@get(
    "/v1/keys",
    description="Oldest first, without the keys themselves.",
    tag="keys",
    access=Access(admin=True),
    responses={200: ResponseSpec("A page of API keys, oldest first.", ApiKeyPage, ("Link",))},
    query=PageQuery,
)
async def list_keys(request: OperationRequest, api_keys: ApiKeyReads) -> Response:
    """List the API keys."""
    return await page_response(request, api_keys.list_page, ApiKeyPage, ApiKeyView.of)


@get(
    "/v1/keys/{key_id}",
    description="Without the key itself, which is shown only when it is created.",
    tag="keys",
    access=Access(admin=True),
    responses={200: ResponseSpec("The API key.", ApiKeyView, ("ETag",))},
    is_conditional_read=True,
)
async def get_key(request: OperationRequest, api_keys: ApiKeyReads) -> Response:
    """Get an API key."""
    key = await api_keys.get(request.subject_id)
    if key is None:
        raise NotFound
    return conditional_get(request, ApiKeyView.of(key))


@delete(
    "/v1/keys/{key_id}",
    description="The next request with the key is rejected. Needs a recent login.",
    tag="keys",
    access=Access(admin=True, fresh=True),
    responses={204: ResponseSpec("The key is revoked.")},
    is_conditional_write=True,
)
async def revoke_key(request: OperationRequest, writes: Writes) -> Response:
    """Revoke an API key."""
    precondition = if_match_check(request.if_match, ApiKeyView.of)
    await writes.run(keys.revoke_key, request.subject_id, context=request.context, precondition=precondition)
    return no_content()
