"""The keys that sign access tokens."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, func, insert, or_, select, text, type_coerce, update
from sqlalchemy.dialects.postgresql import INTERVAL

from service.db.core.columns import Columns, columns_of, values
from service.db.core.statements import Statement
from service.db.repositories.base import ReadRepository, Repository, from_now, require_row
from service.db.tables import SigningKeyRow
from service.domain.signing import SignatureAlgorithm, SigningKey

SIGNING_KEY = columns_of(
    SigningKey, SigningKeyRow, algorithm=Columns(SignatureAlgorithm, SigningKeyRow.algorithm)
)


@dataclass(frozen=True, slots=True)
class EncryptedSigningKey:
    """A key with its encrypted private half; `now` is the time of the read."""

    key: SigningKey
    private_key: bytes
    now: datetime


_ENCRYPTED = Columns(EncryptedSigningKey, SIGNING_KEY, SigningKeyRow.private_key, func.now().label("now"))
_NEWEST: Columns[tuple[SigningKey, timedelta]] = Columns(
    values, SIGNING_KEY, type_coerce(func.now() - SigningKeyRow.created_at, INTERVAL).label("age")
)
_is_published = or_(SigningKeyRow.ends_at.is_(None), SigningKeyRow.ends_at > func.now())
_LIST = Statement(select(*SIGNING_KEY).where(_is_published).order_by(SigningKeyRow.signs_from))
_LIST_ENCRYPTED = Statement(select(*_ENCRYPTED).where(_is_published).order_by(SigningKeyRow.signs_from))
_GET_NEWEST = Statement(select(*_NEWEST).where(SigningKeyRow.ends_at.is_(None)))
_LOCK = Statement(text("SELECT pg_advisory_xact_lock(8242558622567392628)"))
_ADD = Statement(
    insert(SigningKeyRow)
    .values(signs_from=from_now("delay"))
    .returning(*SIGNING_KEY),
    "id", "algorithm", "public_jwk", "private_key",
)  # fmt: skip
_RETIRE = Statement(
    update(SigningKeyRow).where(SigningKeyRow.ends_at.is_(None)).values(ends_at=from_now("delay"))
)
_DELETE_ALL = Statement(delete(SigningKeyRow))
_PURGE = Statement(delete(SigningKeyRow).where(SigningKeyRow.ends_at <= func.now()))


class SigningKeyReads(ReadRepository):
    """Reads of signing keys."""

    async def list_published(self) -> list[SigningKey]:
        """List the keys that verifiers may meet, in the order in which they sign."""
        return [SIGNING_KEY.decode(row) for row in await self._executor.fetch_all(_LIST)]

    async def list_encrypted(self) -> list[EncryptedSigningKey]:
        """List the same keys with their encrypted private halves."""
        return [_ENCRYPTED.decode(row) for row in await self._executor.fetch_all(_LIST_ENCRYPTED)]


class SigningKeyRepository(SigningKeyReads, Repository):
    """Signing keys inside a transaction."""

    async def lock(self) -> None:
        """Wait until no other transaction rotates the keys.

        Locks: an advisory lock until the end of the transaction.
        """
        await self._tx.fetch_one(_LOCK)

    async def get_newest(self) -> tuple[SigningKey, timedelta] | None:
        """Return the newest key and its age; None without any."""
        return _NEWEST.decode_optional(await self._tx.fetch_one(_GET_NEWEST))

    async def add(
        self,
        key_id: UUID,
        algorithm: SignatureAlgorithm,
        public_jwk: str,
        encrypted: bytes,
        *,
        delay: timedelta,
    ) -> SigningKey:
        """Insert a key that signs after `delay`."""
        params = {"algorithm": algorithm.value, "public_jwk": public_jwk, "private_key": encrypted}
        return SIGNING_KEY.decode(
            require_row(await self._tx.fetch_one(_ADD, id=key_id, **params, delay=delay))
        )

    async def retire(self, *, delay: timedelta) -> None:
        """Let the publication of the newest key end after `delay`."""
        await self._tx.execute(_RETIRE, delay=delay)

    async def delete_all(self) -> int:
        """Delete every key; return their number."""
        return await self._tx.execute(_DELETE_ALL)

    async def purge(self) -> int:
        """Delete the keys that are no longer published; return their number."""
        return await self._tx.execute(_PURGE)
