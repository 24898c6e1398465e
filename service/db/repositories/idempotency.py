"""Answers kept for repetition, in SQL."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, func, insert, select

from service.db.core.statements import Statement
from service.db.repositories.base import Repository
from service.db.tables import IdempotencyKeyRow


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The answer that a request got the first time. No secret stands in it."""

    request_digest: bytes
    status: int
    headers: dict[str, str]
    body: bytes


_LOCK = Statement(select(func.pg_try_advisory_xact_lock(bindparam("lock_number"))))
_GET = Statement(
    select(
        IdempotencyKeyRow.request_digest,
        IdempotencyKeyRow.status,
        IdempotencyKeyRow.headers,
        IdempotencyKeyRow.body,
    ).where(IdempotencyKeyRow.digest == bindparam("digest"))
)
_ADD = Statement(insert(IdempotencyKeyRow), "digest", "request_digest", "status", "headers", "body")


class IdempotencyRepository(Repository):
    """Stored answers inside a transaction."""

    async def claim(self, digest: bytes) -> bool:
        """Keep others from using an idempotency key; False when somebody does so now.

        Locks: an advisory lock on the key, until the transaction ends.
        """
        number = int.from_bytes(digest[:8], "big", signed=True)
        row: Any = await self._db.one(_LOCK, {"lock_number": number})
        return bool(row[0])

    async def get(self, digest: bytes) -> StoredAnswer | None:
        """Get the stored answer of a key."""
        row = await self._db.one(_GET, {"digest": digest})
        if row is None:
            return None
        request_digest, status, headers, body = row
        return StoredAnswer(request_digest, status, headers, body)

    async def add(self, digest: bytes, answer: StoredAnswer) -> None:
        """Store the answer of a key, together with what it tells of."""
        await self._db.execute(
            _ADD,
            {
                "digest": digest,
                "request_digest": answer.request_digest,
                "status": answer.status,
                "headers": answer.headers,
                "body": answer.body,
            },
        )
