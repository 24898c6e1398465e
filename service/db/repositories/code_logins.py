"""The user who logs in by a code."""

from uuid import UUID

from sqlalchemy import bindparam, literal_column, select, update

from service.db.core.statements import Statement
from service.db.repositories.base import Repository
from service.db.repositories.login import login_time
from service.db.repositories.users import USER
from service.db.tables import DeviceRow, UserRow
from service.domain.users import User

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


class CodeLoginRepository(Repository):
    """Logins by code inside a transaction."""

    async def record(self, user_id: UUID) -> User | None:
        """Record a login and return the user, or None if it is not active.

        Of a user with second factors, nothing is recorded yet.

        Locks: the user, until the transaction ends.
        """
        return USER.decode_optional(await self._tx.fetch_one(_RECORD, user_id=user_id))

    async def find_device(self, user_id: UUID, token_digest: bytes) -> UUID | None:
        """Return a known device of the user."""
        row = await self._tx.fetch_one(_DEVICE, of_user=user_id, digest=token_digest)
        return row[0] if row is not None else None
