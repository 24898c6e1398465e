"""API keys: create, list, revoke."""

from typing import Any

from litestar import Controller, HttpMethod, Request, Response
from msgspec import UNSET

from service.api.cursors import read_cursor, write_cursor
from service.api.idempotency import idempotency_key_of, run_once
from service.api.injection import GivenDatabase, GivenReads
from service.api.operations import Operation, ResponseSpec, endpoint
from service.api.pagination import cursor_scope, page_answer
from service.api.pipeline import call_of
from service.api.responses import Answer, created, nothing
from service.api.schemas.common import PageQuery, in_utc
from service.api.schemas.keys import ApiKeyPage, ApiKeyView, CreatedKeyView, CreateKeyBody
from service.db.core.transaction import Transaction
from service.domain.callers import Access
from service.domain.errors import InvalidCursor, NotFound
from service.usecases.keys import create_key, revoke_key

_LINKS = {"revoke_key": {"key_id": "$response.body#/api_key/id"}}

CREATE_KEY = Operation(
    id="create_key",
    summary="Create an API key",
    description="The key is shown once: a repetition under the same `Idempotency-Key` has `key: null`.",
    tag="keys",
    access=Access(admin=True),
    answers={201: ResponseSpec("The new key, shown this once.", CreatedKeyView, links=_LINKS)},
    body=CreateKeyBody,
    is_idempotent_by_key=True,
)
LIST_KEYS = Operation(
    id="list_keys",
    summary="List the API keys",
    tag="keys",
    access=Access(admin=True),
    answers={200: ResponseSpec("A page of API keys, oldest first.", ApiKeyPage, ("Link",))},
    problems=(InvalidCursor,),
    query=PageQuery,
)
REVOKE_KEY = Operation(
    id="revoke_key",
    summary="Revoke an API key",
    tag="keys",
    access=Access(admin=True),
    answers={204: ResponseSpec("It is revoked.")},
    problems=(NotFound,),
)


class KeyController(Controller):
    """`/v1/keys`."""

    path = "/v1/keys"

    @endpoint(HttpMethod.POST, "", CREATE_KEY)
    async def create_key(self, request: Request[Any, Any, Any], database: GivenDatabase) -> Response[bytes]:
        """Create an API key, once per idempotency key."""
        call = call_of(request)
        body, context = call.body(CreateKeyBody), call.context
        expires_at = None if body.expires_at is UNSET else in_utc(body.expires_at, "/expires_at")

        async def create(tx: Transaction) -> tuple[Answer, Answer]:
            token, key = await create_key(
                tx, name=body.name, scopes=tuple(body.scopes), expires_at=expires_at, context=context
            )
            view = ApiKeyView.of(key)
            return created(CreatedKeyView(token.value, view)), created(CreatedKeyView(None, view))

        return (await database.run(lambda tx: run_once(tx, idempotency_key_of(call), create))).response()

    @endpoint(HttpMethod.GET, "", LIST_KEYS)
    async def list_keys(self, request: Request[Any, Any, Any], reads: GivenReads) -> Response[bytes]:
        """List the API keys."""
        call = call_of(request)
        query, listing = call.query(PageQuery), cursor_scope(call)
        recent = reads.at(call.caller.wal_position)
        page = await recent.keys.list_page(after=read_cursor(query.cursor, listing), limit=query.limit)
        next_cursor = write_cursor(page.next, listing)
        return page_answer(call, ApiKeyPage(list(map(ApiKeyView.of, page.items)), next_cursor), next_cursor)

    @endpoint(HttpMethod.DELETE, "/{key_id:str}", REVOKE_KEY)
    async def revoke_key(self, request: Request[Any, Any, Any], database: GivenDatabase) -> Response[None]:
        """Revoke an API key."""
        call = call_of(request)
        key_id = call.id_in_path("key_id")
        await database.run(lambda tx: revoke_key(tx, key_id, context=call.context))
        return nothing()
