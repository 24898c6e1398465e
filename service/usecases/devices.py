"""Devices that a user has logged in from."""

from uuid import UUID

from service.db.core.transaction import Transaction
from service.db.repositories.devices import DeviceRepository
from service.db.repositories.events import EventRepository
from service.db.repositories.sessions import SessionRepository
from service.db.repositories.users import UserRepository
from service.domain.errors import NotFound
from service.domain.events import Action, AuditContext
from service.domain.sessions import AuthenticatedSession
from service.usecases.details import forget_pending_address


async def forget_device(
    tx: Transaction, device_id: UUID, *, session: AuthenticatedSession, context: AuditContext
) -> None:
    """Forget a device of the caller's user, and end the sessions opened from it but the caller's own.

    Locks: the user, then its sessions.

    Raises:
        NotFound: the user has no such device.
    """
    user_id = session.user.id
    user = await UserRepository(tx).get_for_update(user_id)
    if user is None or not await DeviceRepository(tx).delete(device_id, user_id=user_id):
        raise NotFound
    await SessionRepository(tx).end_of_device(device_id, user_id=user_id, kept_id=session.session.id)
    await forget_pending_address(tx, user)
    await EventRepository(tx).add(context, Action.DEVICE_FORGOTTEN, user_id)
