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
    mailed_to=bindparam("mailed_to", type_=ResetTokenRow.mailed_to.type),
)
_PUT = Statement(
    _insert.on_conflict_do_update(
        index_elements=[ResetTokenRow.user_id],
        set_={
            "token_digest": _insert.excluded.token_digest,
            "created_at": func.now(),
            "expires_at": _insert.excluded.expires_at,
            "mailed_to": _insert.excluded.mailed_to,
        },
    ).returning(ResetTokenRow.expires_at)
)
_is_live = (ResetTokenRow.token_digest == bindparam("digest")) & (ResetTokenRow.expires_at > func.now())
_FIND = Statement(select(ResetTokenRow.user_id).where(_is_live))
_TAKE = Statement(
    delete(ResetTokenRow).where(_is_live).returning(ResetTokenRow.user_id, ResetTokenRow.mailed_to)
)
_DROP_MAILED = Statement(
    delete(ResetTokenRow).where(
        ResetTokenRow.user_id == bindparam("of_user"), ResetTokenRow.mailed_to.is_not(None)
    )
)
_DROP = Statement(delete(ResetTokenRow).where(ResetTokenRow.user_id == bindparam("of_user")))


class ResetTokenRepository(Repository):
    """Reset tokens inside a transaction."""

    async def put(
        self, user_id: UUID, *, token_digest: bytes, ttl: timedelta, mailed_to: str | None = None
    ) -> datetime:
        """Insert or replace the reset token of a user, and the address it is mailed to; return its expiry."""
        row = await self._tx.fetch_one(
            _PUT, of_user=user_id, digest=token_digest, ttl=ttl, mailed_to=mailed_to
        )
        expires_at: datetime = require_row(row)[0]
        return expires_at

    async def find(self, token_digest: bytes) -> UUID | None:
        """Return the user of a live token without using it."""
        return _user_id_of(await self._tx.fetch_one(_FIND, digest=token_digest))

    async def take(self, token_digest: bytes) -> tuple[UUID, str | None] | None:
        """Use up a live token: exactly one of many concurrent calls gets it.

        Return its user, and the address that it was mailed to. Source: OWASP ASVS 5.0 6.5.1.
        """
        row = await self._tx.fetch_one(_TAKE, digest=token_digest)
        return (row[0], row[1]) if row is not None else None

    async def drop_mailed(self, user_id: UUID) -> None:
        """Delete the token of a user if it was sent by mail."""
        await self._tx.execute(_DROP_MAILED, of_user=user_id)

    async def drop(self, user_id: UUID) -> None:
        """Delete the token of a user, if there is one."""
        await self._tx.execute(_DROP, of_user=user_id)


def _user_id_of(row: Record | None) -> UUID | None:
    return row[0] if row is not None else None
