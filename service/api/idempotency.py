"""`Idempotency-Key`: a repeated request gets the same response and happens once.

Source: draft-ietf-httpapi-idempotency-key-header-07.
"""

import hmac
import re
from collections.abc import Awaitable, Callable
from hashlib import sha256

from service.api.http.errors import MalformedRequest
from service.api.http.response import Response
from service.api.requests import OperationRequest
from service.db.core.database import Database
from service.db.core.transaction import Transaction
from service.db.repositories.idempotency import StoredAnswer
from service.usecases.idempotency import IdempotencyKey, find_response, lock_key, store_response

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def idempotency_key_of(request: OperationRequest, body: bytes) -> IdempotencyKey | None:
    """Return the idempotency key of a request, or None without the header.

    Raises:
        MalformedRequest: the key is not 1 to 255 visible ASCII characters.
    """
    key = request.header(b"idempotency-key")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise MalformedRequest("An Idempotency-Key has 1 to 255 visible ASCII characters.")
    caller = str(request.caller.id or request.context.network)
    content = request.operation.id.encode() + b"\0" + body
    return IdempotencyKey(
        sha256(f"{caller}\0{request.operation.id}\0{key}".encode()).digest(),
        hmac.digest(key.encode(), content, "sha256"),
    )


async def find_replay(request: OperationRequest, database: Database) -> Response | None:
    """Return the stored response of an earlier request with the same idempotency key.

    Raises:
        IdempotencyKeyReused: the key came with another request.
    """
    key = request.idempotency_key
    if key is None:
        return None
    stored = await database.run(lambda tx: find_response(tx, key), caller=request.caller)
    return _replayed(stored) if stored is not None else None


async def run_once(
    request: OperationRequest,
    database: Database,
    work: Callable[[Transaction], Awaitable[tuple[Response, Response]]],
) -> Response:
    """Run the work once per idempotency key, in one transaction with the response that is stored for it.

    `work` returns the response to send and the one to store, which holds no secret.

    Raises:
        RequestInProgress: another request with the key is running.
        IdempotencyKeyReused: the key came with another request.
    """

    async def run(tx: Transaction) -> Response:
        key = request.idempotency_key
        if key is None:
            return (await work(tx))[0]
        await lock_key(tx, key)
        if (stored := await find_response(tx, key)) is not None:
            return _replayed(stored)
        response, replayable = await work(tx)
        headers = {name.decode(): value.decode("latin-1") for name, value in replayable.headers}
        answer = StoredAnswer(key.request_digest, replayable.status, headers, replayable.body or b"")
        await store_response(tx, key, answer)
        return response

    return await database.run(run, caller=request.caller)


def _replayed(stored: StoredAnswer) -> Response:
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in stored.headers.items()]
    return Response(stored.status, stored.body, (*headers, (b"idempotent-replayed", b"true")))
