"""E-mail addresses and other details of users."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Boolean, Text, any_, bindparam, case, func, null, select, union_all, update

from service.db.core.statements import Statement
from service.db.repositories.base import ReadRepository, Repository, require_row
from service.db.repositories.user_columns import USER
from service.db.tables import UserRow
from service.domain.users import User

_of_user = UserRow.id == bindparam("user_id")
_new_email = bindparam("new_email", type_=Text)
_verified_at = func.coalesce(case((UserRow.email == _new_email, UserRow.email_verified_at)), func.now())
_SET = Statement(
    update(UserRow)
    .where(_of_user)
    .values(
        email=_new_email,
        email_verified_at=case((bindparam("is_verified", type_=Boolean), _verified_at)),
        pending_email=null(),
    )
    .returning(*USER)
)
_SET_PENDING = Statement(update(UserRow).where(_of_user).returning(*USER), "pending_email")
_SET_OTHERS = Statement(update(UserRow).where(_of_user).returning(*USER), "locale", "external_id", "metadata")
_FIND_VERIFIED = Statement(
    select(*USER).where(UserRow.email == bindparam("email"), UserRow.email_verified_at.is_not(None))
)
# Two selects, because the planner knows a verified address to be unique only where no OR is around it.
_TAKEN = Statement(
    union_all(
        select(UserRow.email).where(
            UserRow.email == any_(bindparam("emails", type_=ARRAY(Text))),
            UserRow.email_verified_at.is_not(None),
        ),
        select(UserRow.external_id).where(
            UserRow.external_id == any_(bindparam("external_ids", type_=ARRAY(Text)))
        ),
    )
)


class EmailReads(ReadRepository):
    """Look-ups by address."""

    async def get_by_verified(self, email: str) -> User | None:
        """Return the user who has verified an address."""
        return USER.decode_optional(await self._executor.fetch_one(_FIND_VERIFIED, email=email))


class EmailRepository(EmailReads, Repository):
    """Addresses and other details of users who are locked."""

    async def replace(self, user_id: UUID, email: str | None, *, is_verified: bool) -> User:
        """Replace the address; a pending one is forgotten. One that stays keeps when it was verified.

        Raises:
            EmailTaken: another user has verified it (raised when the transaction ends).
        """
        row = await self._tx.fetch_one(_SET, user_id=user_id, new_email=email, is_verified=is_verified)
        return USER.decode(require_row(row))

    async def set_pending(self, user_id: UUID, email: str | None) -> User:
        """Store the address that takes effect once it is verified."""
        return USER.decode(
            require_row(await self._tx.fetch_one(_SET_PENDING, user_id=user_id, pending_email=email))
        )

    async def set_details(
        self, user_id: UUID, *, locale: str | None, external_id: str | None, metadata: dict[str, Any]
    ) -> User:
        """Replace language, external id and metadata.

        Raises:
            ExternalIdTaken: another user has the external id (raised when the transaction ends).
        """
        row = await self._tx.fetch_one(
            _SET_OTHERS, user_id=user_id, locale=locale, external_id=external_id, metadata=metadata
        )
        return USER.decode(require_row(row))

    async def taken(self, emails: Sequence[str], external_ids: Sequence[str]) -> set[str]:
        """Return those of these verified addresses and external ids that users have."""
        rows = await self._tx.fetch_all(_TAKEN, emails=list(emails), external_ids=list(external_ids))
        return {row[0] for row in rows}
