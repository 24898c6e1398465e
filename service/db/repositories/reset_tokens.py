"""Password reset tokens."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Interval, bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from service.db.core.driver import Record
from service.db.core.statements import Statement
from service.db.repositories.base import Repository, require_row
from service.db.tables import ResetTokenRow

_insert = insert(ResetTokenRow).values(
    user_id=bindparam("of_user"),
    token_digest=bindparam("digest"),
    expires_at=func.now() + bindparam("ttl", type_=Interval),
)
_PUT = Statement(
    _insert.on_conflict_do_update(
        index_elements=[ResetTokenRow.user_id],
        set_={
            "token_digest": _insert.excluded.token_digest,
            "created_at": func.now(),
            "expires_at": _insert.excluded.expires_at,
        },
    ).returning(ResetTokenRow.expires_at)
)
_is_live = (ResetTokenRow.token_digest == bindparam("digest")) & (ResetTokenRow.expires_at > func.now())
_FIND = Statement(select(ResetTokenRow.user_id).where(_is_live))
_TAKE = Statement(delete(ResetTokenRow).where(_is_live).returning(ResetTokenRow.user_id))
_DROP = Statement(delete(ResetTokenRow).where(ResetTokenRow.user_id == bindparam("of_user")))


class ResetTokenRepository(Repository):
    """Reset tokens inside a transaction."""

    async def put(self, user_id: UUID, *, token_digest: bytes, ttl: timedelta) -> datetime:
        """Insert or replace the reset token of a user; return its expiry."""
        row = await self._tx.fetch_one(_PUT, of_user=user_id, digest=token_digest, ttl=ttl)
        expires_at: datetime = require_row(row)[0]
        return expires_at

    async def find(self, token_digest: bytes) -> UUID | None:
        """Return the user of a live token without using it."""
        return _user_id_of(await self._tx.fetch_one(_FIND, digest=token_digest))

    async def take(self, token_digest: bytes) -> UUID | None:
        """Use up a live token and return its user: exactly one of many concurrent calls gets it.

        Source: OWASP ASVS 5.0 6.5.1.
        """
        return _user_id_of(await self._tx.fetch_one(_TAKE, digest=token_digest))

    async def drop(self, user_id: UUID) -> None:
        """Delete the token of a user, if there is one."""
        await self._tx.execute(_DROP, of_user=user_id)


def _user_id_of(row: Record | None) -> UUID | None:
    return row[0] if row is not None else None
