"""Secrets of authenticator apps."""

from uuid import UUID

from sqlalchemy import bindparam, delete, func, insert, select, update

from service.db.core.statements import Statement
from service.db.repositories.base import Repository
from service.db.repositories.second_factors import STORED_TOTP, StoredTotp
from service.db.tables import TotpSecretRow

_of_user = TotpSecretRow.user_id == bindparam("of_user")
_is_pending = TotpSecretRow.confirmed_at.is_(None)
_ADD = Statement(insert(TotpSecretRow), "id", "user_id", "secret")
_GET_PENDING = Statement(select(*STORED_TOTP).where(_of_user, _is_pending))
_DELETE_PENDING = Statement(delete(TotpSecretRow).where(_of_user, _is_pending))
_DELETE_CONFIRMED = Statement(delete(TotpSecretRow).where(_of_user, ~_is_pending))
_CONFIRM = Statement(
    update(TotpSecretRow)
    .where(_of_user, _is_pending)
    .values(confirmed_at=func.now(), last_used_at=func.now(), last_step=bindparam("step"))
)


class TotpRepository(Repository):
    """Secrets of authenticator apps inside a transaction that has locked their user."""

    async def put_pending(self, secret_id: UUID, user_id: UUID, encrypted: bytes) -> None:
        """Insert a secret that waits for its first code; an earlier one is replaced."""
        await self.delete_pending(user_id)
        await self._tx.execute(_ADD, id=secret_id, user_id=user_id, secret=encrypted)

    async def get_pending(self, user_id: UUID) -> StoredTotp | None:
        """Return the secret that waits for its first code."""
        return STORED_TOTP.decode_optional(await self._tx.fetch_one(_GET_PENDING, of_user=user_id))

    async def confirm_pending(self, user_id: UUID, *, step: int) -> None:
        """Let the pending secret take the place of the confirmed one; `step` is that of its first code."""
        await self.delete_confirmed(user_id)
        await self._tx.execute(_CONFIRM, of_user=user_id, step=step)

    async def delete_pending(self, user_id: UUID) -> bool:
        """Delete the pending secret; return False if there is none."""
        return await self._tx.execute(_DELETE_PENDING, of_user=user_id) == 1

    async def delete_confirmed(self, user_id: UUID) -> bool:
        """Delete the confirmed secret; return False if there is none."""
        return await self._tx.execute(_DELETE_CONFIRMED, of_user=user_id) == 1
