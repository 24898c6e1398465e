"""Devices that users have logged in from."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import bindparam, delete, select

from service.db.core.statements import Statement
from service.db.repositories.base import Repository
from service.db.tables import DeviceRow, SessionRow


@dataclass(frozen=True, slots=True)
class Device:
    """A device that a user logs in from, and its network. A known one has no digest here."""

    id: UUID
    network: str
    token_digest: bytes | None = None


_device_of_session = (
    select(SessionRow.device_id).where(SessionRow.id == bindparam("session_id")).scalar_subquery()
)
_FORGET_ALL = Statement(
    delete(DeviceRow).where(
        DeviceRow.user_id == bindparam("of_user"), DeviceRow.id.is_distinct_from(_device_of_session)
    )
)


class DeviceRepository(Repository):
    """Known devices inside a transaction. A login adds and touches them (`LoginRepository.begin_session`)."""

    async def forget_all(self, user_id: UUID, *, but_of_session: UUID | None = None) -> None:
        """Delete the devices of a user, except the one that a session was opened from."""
        await self._tx.execute(_FORGET_ALL, of_user=user_id, session_id=but_of_session)
