"""Codes to log in with."""

from datetime import timedelta
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import Interval, bindparam, delete, func, insert, literal_column, update

from service.db.core.statements import Statement
from service.db.repositories.base import Repository
from service.db.tables import LoginCodeRow

TRIES: Final = 5
_of_token = LoginCodeRow.token_digest == bindparam("digest")
_ADD = Statement(
    insert(LoginCodeRow).values(
        token_digest=bindparam("digest"),
        user_id=bindparam("of_user", type_=LoginCodeRow.user_id.type),
        code_digest=bindparam("code_digest"),
        expires_at=func.now() + bindparam("ttl", type_=Interval),
    )
)
_TRY = Statement(
    update(LoginCodeRow)
    .where(_of_token, LoginCodeRow.expires_at > func.now(), LoginCodeRow.tries < literal_column(str(TRIES)))
    .values(tries=LoginCodeRow.tries + 1)
    .returning(LoginCodeRow.user_id, LoginCodeRow.code_digest)
)
_USE = Statement(delete(LoginCodeRow).where(_of_token))


class CodeAttempt(NamedTuple):
    """What a try is held against."""

    user_id: UUID | None
    code_digest: bytes


class LoginCodeRepository(Repository):
    """Login codes inside a transaction."""

    async def add(
        self, token_digest: bytes, user_id: UUID | None, *, code_digest: bytes, ttl: timedelta
    ) -> None:
        """Insert a code for the browser that has the token; without a user, no code is right."""
        await self._tx.execute(_ADD, digest=token_digest, of_user=user_id, code_digest=code_digest, ttl=ttl)

    async def begin_try(self, token_digest: bytes) -> CodeAttempt | None:
        """Count a try before it is verified; return None without a code that has tries left.

        Locks: the code, until the transaction ends.
        """
        row = await self._tx.fetch_one(_TRY, digest=token_digest)
        return CodeAttempt(row[0], row[1]) if row is not None else None

    async def use(self, token_digest: bytes) -> bool:
        """Use up a code: exactly one of many concurrent calls gets it."""
        return await self._tx.execute(_USE, digest=token_digest) == 1
