"""One-time tokens of which a user has one: to reset a password, and to verify an address."""

from datetime import datetime, timedelta
from typing import Any, ClassVar, NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from service.db.core.statements import Statement
from service.db.repositories.base import Repository, from_now, require_row, value_of
from service.db.tables import EmailVerificationRow, ResetTokenRow


class _Statements:
    """The statements of a table whose column `address` holds where the token was mailed to."""

    def __init__(self, table: Any, address: str) -> None:
        mailed_to = getattr(table, address)
        new = insert(table).values({
            "user_id": bindparam("of_user"),
            address: bindparam("address", type_=mailed_to.type),
            "token_digest": bindparam("digest"),
            "expires_at": from_now("ttl"),
        })  # fmt: skip
        replaced: dict[str, Any] = {
            name: new.excluded[name] for name in (address, "token_digest", "expires_at")
        }
        is_live = (table.token_digest == bindparam("digest")) & (table.expires_at > func.now())
        replaced["created_at"] = func.now()
        put = new.on_conflict_do_update(index_elements=[table.user_id], set_=replaced)
        self.put = Statement(put.returning(table.expires_at))
        self.find = Statement(select(table.user_id).where(is_live))
        self.take = Statement(delete(table).where(is_live).returning(table.user_id, mailed_to))
        self.drop = Statement(delete(table).where(table.user_id == bindparam("of_user")))


_DROP_MAILED = Statement(
    delete(ResetTokenRow).where(
        ResetTokenRow.user_id == bindparam("of_user"), ResetTokenRow.mailed_to.is_not(None)
    )
)


class TakenToken(NamedTuple):
    """Whose token was used up, and the address that it was mailed to."""

    user_id: UUID
    address: str | None


class _UserTokenRepository(Repository):
    _sql: ClassVar[_Statements]

    async def put(
        self, user_id: UUID, *, token_digest: bytes, ttl: timedelta, address: str | None = None
    ) -> datetime:
        """Insert or replace the token of a user, and the address it is mailed to; return its expiry."""
        params = {"of_user": user_id, "digest": token_digest, "ttl": ttl, "address": address}
        expires_at: datetime = require_row(await self._tx.fetch_one(self._sql.put, **params))[0]
        return expires_at

    async def find(self, token_digest: bytes) -> UUID | None:
        """Return the user of a live token without using it."""
        return value_of(await self._tx.fetch_one(self._sql.find, digest=token_digest))

    async def take(self, token_digest: bytes) -> TakenToken | None:
        """Use up a live token: exactly one of many concurrent calls gets it. Source: OWASP ASVS 5.0 6.5.1."""
        row = await self._tx.fetch_one(self._sql.take, digest=token_digest)
        return TakenToken(*row) if row is not None else None

    async def drop(self, user_id: UUID) -> None:
        """Delete the token of a user, if there is one."""
        await self._tx.execute(self._sql.drop, of_user=user_id)


class ResetTokenRepository(_UserTokenRepository):
    """Password reset tokens inside a transaction."""

    _sql = _Statements(ResetTokenRow, "mailed_to")

    async def drop_mailed(self, user_id: UUID) -> None:
        """Delete the token of a user if it was sent by mail."""
        await self._tx.execute(_DROP_MAILED, of_user=user_id)


class VerificationRepository(_UserTokenRepository):
    """Tokens that verify addresses, inside a transaction."""

    _sql = _Statements(EmailVerificationRow, "email")
