"""`Idempotency-Key`: a repeated request gets the same response and happens once.

Source: draft-ietf-httpapi-idempotency-key-header-07.
"""

import hmac
import re
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

from service.api.http.errors import MalformedRequest
from service.api.http.response import Response
from service.api.requests import OperationRequest
from service.api.writes import Writes
from service.db.core.transaction import Transaction
from service.db.repositories.idempotency import StoredResponse
from service.usecases.idempotency import IdempotencyKey, find_response, lock_key, store_response

_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
SECRET_FIELDS: Final = frozenset({"password", "password_hash"})
"""Fields of bodies that no digest is made of."""
_encode: Final = msgspec.json.Encoder(order="sorted").encode


class Outcome(NamedTuple):
    """The result of the work of a request."""

    response: Response
    stored: Response
    """The response that is stored for a repetition; it contains no secret."""
    user_id: UUID | None
    """The user in the stored response, with whom it is deleted."""


def idempotency_key_of(request: OperationRequest) -> IdempotencyKey | None:
    """Return the idempotency key of a request, or None without the header.

    A key belongs to its caller; that of an anonymous one, to the login id in the request. The digest of the
    request leaves passwords out: it is fast, so a reader of the database could guess them by it.
    Source: OWASP ASVS 5.0 11.4.2.

    Raises:
        MalformedRequest: the key is not 1 to 255 visible ASCII characters.
    """
    key = request.header(b"idempotency-key")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise MalformedRequest("An Idempotency-Key has 1 to 255 visible ASCII characters.")
    fields = msgspec.to_builtins(request.body_value)
    caller = request.caller.id or f"anonymous {fields['login_id']}"
    public = {name: value for name, value in fields.items() if name not in SECRET_FIELDS}
    content = request.operation.id.encode() + b"\0" + _encode(public)
    return IdempotencyKey(
        sha256(f"{caller}\0{request.operation.id}\0{key}".encode()).digest(),
        hmac.digest(key.encode(), content, "sha256"),
    )


async def find_replay(request: OperationRequest, writes: Writes) -> Response | None:
    """Return the stored response of an earlier request with the same idempotency key.

    Raises:
        IdempotencyKeyReused: the key came with another request.
    """
    key = request.idempotency_key
    if key is None:
        return None
    stored = await writes.run(find_response, key)
    return _replayed(stored) if stored is not None else None


async def run_once(
    request: OperationRequest,
    writes: Writes,
    work: Callable[[Transaction], Awaitable[Outcome]],
) -> Response:
    """Run the work once per idempotency key, in one transaction with the response that is stored for it.

    Raises:
        RequestInProgress: another request with the key is running.
        IdempotencyKeyReused: the key came with another request.
    """

    async def run(tx: Transaction) -> Response:
        key = request.idempotency_key
        if key is None:
            return (await work(tx)).response
        await lock_key(tx, key)
        if (stored := await find_response(tx, key)) is not None:
            return _replayed(stored)
        response, stored_response, user_id = await work(tx)
        await store_response(tx, key, _stored(stored_response, key, user_id))
        return response

    return await writes.run(run)


def _stored(response: Response, key: IdempotencyKey, user_id: UUID | None) -> StoredResponse:
    headers = {name.decode(): value.decode("latin-1") for name, value in response.headers}
    return StoredResponse(key.request_digest, response.status, headers, response.body or b"", user_id)


def _replayed(stored: StoredResponse) -> Response:
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in stored.headers.items()]
    return Response(stored.status, stored.body, (*headers, (b"idempotent-replayed", b"true")))
