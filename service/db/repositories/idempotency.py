"""Responses stored for `Idempotency-Key`."""

from dataclasses import asdict, dataclass
from uuid import UUID

from sqlalchemy import bindparam, func, insert, select

from service.db.core.columns import columns_of
from service.db.core.statements import Statement
from service.db.repositories.base import Repository, require_row
from service.db.tables import IdempotencyKeyRow


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """The response to the first request with a key. It contains no secret.

    It is deleted with the user `user_id`, whom it describes.
    """

    request_digest: bytes
    status: int
    headers: dict[str, str]
    body: bytes
    user_id: UUID | None


_STORED = columns_of(StoredResponse, IdempotencyKeyRow)
_LOCK = Statement(select(func.pg_try_advisory_xact_lock(bindparam("lock_number"))))
_GET = Statement(select(*_STORED).where(IdempotencyKeyRow.digest == bindparam("digest")))
_ADD = Statement(
    insert(IdempotencyKeyRow), "digest", "request_digest", "status", "headers", "body", "user_id"
)


class IdempotencyRepository(Repository):
    """Stored responses inside a transaction."""

    async def claim(self, digest: bytes) -> bool:
        """Lock an idempotency key; return False if another transaction holds it.

        Locks: an advisory lock on the key, until the transaction ends.
        """
        number = int.from_bytes(digest[:8], "big", signed=True)
        return bool(require_row(await self._tx.fetch_one(_LOCK, lock_number=number))[0])

    async def get(self, digest: bytes) -> StoredResponse | None:
        """Return the stored response of a key."""
        return _STORED.decode_optional(await self._tx.fetch_one(_GET, digest=digest))

    async def add(self, digest: bytes, response: StoredResponse) -> None:
        """Store the response of a key, in the transaction of the change that it reports."""
        await self._tx.execute(_ADD, digest=digest, **asdict(response))
