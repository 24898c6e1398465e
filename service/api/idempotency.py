"""`Idempotency-Key`: the same request again gets the same answer, and happens once.

Source: draft-ietf-httpapi-idempotency-key-header-07.
"""

import hmac
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256

from service.api.http.errors import IdempotencyKeyReused, MalformedRequest, RequestInProgress
from service.api.pipeline import OperationRequest
from service.api.responses import Answer
from service.db.core.transaction import Transaction
from service.db.repositories.idempotency import IdempotencyRepository, StoredAnswer

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A caller's idempotency key, and the request it came with."""

    digest: bytes
    request_digest: bytes


def idempotency_key_of(call: OperationRequest) -> IdempotencyKey | None:
    """Give the claim that a request makes, or None without the header.

    Raises:
        MalformedRequest: the key is not 1 to 255 visible ASCII characters.
    """
    key = call.headers.get("idempotency-key")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise MalformedRequest("An Idempotency-Key has 1 to 255 visible ASCII characters.")
    caller = str(call.caller.id or call.context.network)
    request = call.operation.id.encode() + b"\0" + call.body_bytes
    return IdempotencyKey(
        sha256(f"{caller}\0{call.operation.id}\0{key}".encode()).digest(),
        hmac.digest(key.encode(), request, "sha256"),
    )


async def replay(tx: Transaction, claim: IdempotencyKey) -> Answer | None:
    """Give the stored answer of a claim, or None when there is none yet.

    Raises:
        IdempotencyKeyReused: the key came with another request.
    """
    stored = await IdempotencyRepository(tx).get(claim.digest)
    if stored is None:
        return None
    if not hmac.compare_digest(stored.request_digest, claim.request_digest):
        raise IdempotencyKeyReused
    return Answer(stored.status, stored.body, {**stored.headers, "Idempotent-Replayed": "true"})


async def run_once(
    tx: Transaction,
    claim: IdempotencyKey | None,
    work: Callable[[Transaction], Awaitable[tuple[Answer, Answer]]],
) -> Answer:
    """Do the work unless its claim has an answer; store the second answer of the work for repetition.

    The answer is stored in the transaction that does the work, so that either both are there or none.

    Locks: the claim, before anything else.

    Raises:
        RequestInProgress: somebody does it now.
        IdempotencyKeyReused: the key came with another request.
    """
    if claim is None:
        return (await work(tx))[0]
    if not await IdempotencyRepository(tx).claim(claim.digest):
        raise RequestInProgress
    if (known := await replay(tx, claim)) is not None:
        return known
    answer, kept = await work(tx)
    await IdempotencyRepository(tx).add(
        claim.digest, StoredAnswer(claim.request_digest, kept.status, kept.headers, kept.body)
    )
    return answer
