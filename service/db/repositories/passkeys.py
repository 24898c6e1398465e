"""Passkeys."""

from dataclasses import asdict, fields
from uuid import UUID

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.dialects.postgresql import insert

from service.db.core.columns import columns_of
from service.db.core.statements import Statement
from service.db.repositories.base import ReadRepository, Repository, require_row
from service.db.repositories.listings import Listing, keyset_page
from service.db.tables import PasskeyRow
from service.domain.factors import Passkey
from service.domain.pages import Keyset, Page
from service.security.webauthn import NewPasskey

PASSKEY = columns_of(Passkey, PasskeyRow)
_of_user = PasskeyRow.user_id == bindparam("of_user")
_one = (PasskeyRow.id == bindparam("passkey_id")) & _of_user
_LIST = Statement(select(*PASSKEY).where(_of_user).order_by(PasskeyRow.created_at, PasskeyRow.id))
_GET = Statement(select(*PASSKEY).where(_one))
_LISTING = Listing(PASSKEY, select(*PASSKEY).where(_of_user), at=PasskeyRow.created_at, id=PasskeyRow.id)
_NEW = ("id", "user_id", "name", *(field.name for field in fields(NewPasskey)))
_ADD = Statement(
    insert(PasskeyRow).on_conflict_do_nothing(index_elements=[PasskeyRow.credential_id]).returning(*PASSKEY),
    *_NEW,
)
_RENAME = Statement(update(PasskeyRow).where(_one).values(name=bindparam("new_name")).returning(*PASSKEY))
_DELETE = Statement(delete(PasskeyRow).where(_one))


class PasskeyReads(ReadRepository):
    """Reads of passkeys."""

    async def list_page(self, user_id: UUID, *, after: Keyset | None, limit: int) -> Page[Passkey]:
        """List the passkeys of a user, oldest first."""
        return await keyset_page(self._executor, _LISTING, after=after, limit=limit, of_user=user_id)

    async def list_all(self, user_id: UUID) -> list[Passkey]:
        """List every passkey of a user, oldest first."""
        return [PASSKEY.decode(row) for row in await self._executor.fetch_all(_LIST, of_user=user_id)]

    async def get(self, passkey_id: UUID, *, user_id: UUID) -> Passkey | None:
        """Return a passkey of a user."""
        return PASSKEY.decode_optional(
            await self._executor.fetch_one(_GET, passkey_id=passkey_id, of_user=user_id)
        )


class PasskeyRepository(PasskeyReads, Repository):
    """Passkeys inside a transaction that has locked their user."""

    async def add(self, passkey_id: UUID, user_id: UUID, name: str, new: NewPasskey) -> Passkey | None:
        """Insert a passkey; return None if there is one with this credential id, whoever has it."""
        row = await self._tx.fetch_one(_ADD, id=passkey_id, user_id=user_id, name=name, **asdict(new))
        return PASSKEY.decode_optional(row)

    async def rename(self, passkey_id: UUID, name: str, *, user_id: UUID) -> Passkey:
        """Change the name of a passkey that is there."""
        row = await self._tx.fetch_one(_RENAME, passkey_id=passkey_id, of_user=user_id, new_name=name)
        return PASSKEY.decode(require_row(row))

    async def delete(self, passkey_id: UUID, *, user_id: UUID) -> None:
        """Delete a passkey."""
        await self._tx.execute(_DELETE, passkey_id=passkey_id, of_user=user_id)
