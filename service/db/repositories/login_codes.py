"""Codes to log in with, and the users who do."""

from datetime import timedelta
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, delete, func, insert, literal_column, select, update

from service.db.core.statements import Statement
from service.db.repositories.base import Repository, from_now, value_of
from service.db.repositories.login import login_time
from service.db.repositories.user_columns import USER
from service.db.tables import DeviceRow, LoginCodeRow, UserRow
from service.domain.users import User

TRIES: Final = 5
_of_token = LoginCodeRow.token_digest == bindparam("digest")
_ADD = Statement(
    insert(LoginCodeRow).values(expires_at=from_now("ttl")), "token_digest", "user_id", "code_digest"
)
_TRY = Statement(
    update(LoginCodeRow)
    .where(_of_token, LoginCodeRow.expires_at > func.now(), LoginCodeRow.tries < literal_column(str(TRIES)))
    .values(tries=LoginCodeRow.tries + 1)
    .returning(LoginCodeRow.user_id, LoginCodeRow.code_digest)
)
_USE = Statement(delete(LoginCodeRow).where(_of_token))
_RECORD = Statement(
    update(UserRow)
    .where(UserRow.id == bindparam("user_id"), UserRow.state == literal_column("'active'"))
    .values(last_login_at=login_time())
    .returning(*USER)
)
_DEVICE = Statement(
    select(DeviceRow.id).where(
        DeviceRow.user_id == bindparam("of_user"), DeviceRow.token_digest == bindparam("digest")
    )
)


class CodeAttempt(NamedTuple):
    """What a try is held against."""

    user_id: UUID | None
    code_digest: bytes


class LoginCodeRepository(Repository):
    """Login codes, and logins by them, inside a transaction."""

    async def add(
        self, token_digest: bytes, user_id: UUID | None, *, code_digest: bytes, ttl: timedelta
    ) -> None:
        """Insert a code for the browser that has the token; without a user, no code is right."""
        await self._tx.execute(
            _ADD, token_digest=token_digest, user_id=user_id, code_digest=code_digest, ttl=ttl
        )

    async def begin_try(self, token_digest: bytes) -> CodeAttempt | None:
        """Count a try before it is verified; return None without a code that has tries left.

        Locks: the code, until the transaction ends.
        """
        row = await self._tx.fetch_one(_TRY, digest=token_digest)
        return CodeAttempt(*row) if row is not None else None

    async def use(self, token_digest: bytes) -> bool:
        """Use up a code: exactly one of many concurrent calls gets it."""
        return await self._tx.execute(_USE, digest=token_digest) == 1

    async def record_login(self, user_id: UUID) -> User | None:
        """Record a login and return the user, or None if it is not active.

        Of a user with second factors, nothing is recorded yet.

        Locks: the user, until the transaction ends.
        """
        return USER.decode_optional(await self._tx.fetch_one(_RECORD, user_id=user_id))

    async def find_device(self, user_id: UUID, token_digest: bytes) -> UUID | None:
        """Return a known device of the user."""
        return value_of(await self._tx.fetch_one(_DEVICE, of_user=user_id, digest=token_digest))
