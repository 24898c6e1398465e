"""Recovery codes."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import ARRAY, LargeBinary, bindparam, delete, func, insert, select

from service.db.core.statements import Statement
from service.db.repositories.base import Repository
from service.db.tables import RecoveryCodeRow

_ADD = Statement(
    insert(RecoveryCodeRow).from_select(
        ("code_digest", "user_id"),
        select(
            func.unnest(bindparam("digests", type_=ARRAY(LargeBinary))),
            bindparam("of_user", type_=RecoveryCodeRow.user_id.type),
        ),
    )
)
_DELETE_ALL = Statement(delete(RecoveryCodeRow).where(RecoveryCodeRow.user_id == bindparam("of_user")))


class RecoveryCodeRepository(Repository):
    """Recovery codes inside a transaction that has locked their user."""

    async def replace_all(self, user_id: UUID, digests: Iterable[bytes]) -> None:
        """Insert codes in place of those before."""
        await self.delete_all(user_id)
        await self._tx.execute(_ADD, digests=list(digests), of_user=user_id)

    async def delete_all(self, user_id: UUID) -> None:
        """Delete every code of a user."""
        await self._tx.execute(_DELETE_ALL, of_user=user_id)
