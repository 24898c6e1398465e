"""Devices that users have logged in from."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import bindparam, delete, func, insert, literal_column, select

from service.db.core.columns import columns_of
from service.db.core.statements import Statement
from service.db.repositories.base import ReadRepository, Repository
from service.db.repositories.listings import Listing, keyset_page
from service.db.tables import DeviceRow, SessionRow
from service.domain.devices import Device
from service.domain.pages import Keyset, Page


@dataclass(frozen=True, slots=True)
class LoginDevice:
    """The device of a login, and its network. One that is known has no digest here."""

    id: UUID
    network: str
    token_digest: bytes | None = None


_ADD = Statement(insert(DeviceRow), "id", "user_id", "token_digest", "network")
_device_of_session = (
    select(SessionRow.device_id).where(SessionRow.id == bindparam("session_id")).scalar_subquery()
)
_DELETE_ALL = Statement(
    delete(DeviceRow).where(
        DeviceRow.user_id == bindparam("of_user"), DeviceRow.id.is_distinct_from(_device_of_session)
    )
)


_is_current = func.coalesce(DeviceRow.id == _device_of_session, literal_column("false"))
_KNOWN = columns_of(Device, DeviceRow, is_current=_is_current.label("is_current"))
_LISTING = Listing(
    _KNOWN,
    select(*_KNOWN).where(DeviceRow.user_id == bindparam("of_user")),
    at=DeviceRow.created_at,
    id=DeviceRow.id,
)
_DELETE = Statement(
    delete(DeviceRow).where(DeviceRow.id == bindparam("device_id"), DeviceRow.user_id == bindparam("of_user"))
)


class DeviceReads(ReadRepository):
    """Reads of known devices."""

    async def list_page(
        self, user_id: UUID, *, session_id: UUID, after: Keyset | None, limit: int
    ) -> Page[Device]:
        """List the devices of a user, oldest first; the one of the session is marked."""
        return await keyset_page(
            self._executor, _LISTING, after=after, limit=limit, of_user=user_id, session_id=session_id
        )


class DeviceRepository(DeviceReads, Repository):
    """Known devices inside a transaction. A login adds and touches them (`LoginRepository.begin_session`)."""

    async def add(self, user_id: UUID, device: LoginDevice) -> None:
        """Insert a new device."""
        await self._tx.execute(
            _ADD, id=device.id, user_id=user_id, token_digest=device.token_digest, network=device.network
        )

    async def delete(self, device_id: UUID, *, user_id: UUID) -> bool:
        """Delete a device of a user; return False if there is none."""
        return await self._tx.execute(_DELETE, device_id=device_id, of_user=user_id) == 1

    async def delete_all(self, user_id: UUID, *, but_of_session: UUID | None = None) -> None:
        """Delete the devices of a user, except the one that a session was opened from."""
        await self._tx.execute(_DELETE_ALL, of_user=user_id, session_id=but_of_session)
