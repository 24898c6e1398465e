"""Which second factors a user has, and the end of all of them."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import Text, bindparam, case, delete, exists, func, literal_column, null, update
from sqlalchemy.dialects.postgresql import ARRAY, array

from service.db.core.statements import Statement
from service.db.repositories.base import Repository, require_row
from service.db.repositories.user_columns import USER
from service.db.tables import PasskeyChallengeRow, PasskeyRow, RecoveryCodeRow, TotpSecretRow, UserRow
from service.domain.factors import Factor
from service.domain.users import User

_ENROLLED: Final = {
    Factor.TOTP: exists().where(TotpSecretRow.user_id == UserRow.id, TotpSecretRow.confirmed_at.is_not(None)),
    Factor.PASSKEY: exists().where(PasskeyRow.user_id == UserRow.id),
}
_factors: array[Any] = array(
    [
        case((is_enrolled, literal_column(f"'{factor.value}'", Text)))
        for factor, is_enrolled in _ENROLLED.items()
    ],
    type_=Text,
)
_REFRESH = Statement(
    update(UserRow)
    .where(UserRow.id == bindparam("user_id"))
    .values(factors=func.array_remove(_factors, null(), type_=ARRAY(Text)))
    .returning(*USER)
)


_HELD: Final = (TotpSecretRow, PasskeyRow, RecoveryCodeRow, PasskeyChallengeRow)
_DELETE_ALL: Final = tuple(
    Statement(delete(table).where(table.user_id == bindparam("of_user"))) for table in _HELD
)


class FactorRepository(Repository):
    """Second factors inside a transaction that has locked their user."""

    async def refresh(self, user_id: UUID) -> User:
        """Set the factors of a locked user to those that the tables hold, and return the user."""
        return USER.decode(require_row(await self._tx.fetch_one(_REFRESH, user_id=user_id)))

    async def delete_all(self, user_id: UUID) -> User:
        """Delete every factor, recovery code and passkey challenge of a locked user, and return the user."""
        for statement in _DELETE_ALL:
            await self._tx.execute(statement, of_user=user_id)
        return await self.refresh(user_id)
