"""Challenges for passkeys."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import bindparam, delete, func, insert

from service.db.core.statements import Statement
from service.db.repositories.base import Repository, from_now, value_of
from service.db.tables import PasskeyChallengeRow

_of_user = PasskeyChallengeRow.user_id.is_not_distinct_from(
    bindparam("of_user", type_=PasskeyChallengeRow.user_id.type)
)
_ADD = Statement(insert(PasskeyChallengeRow).values(expires_at=from_now("ttl")), "id", "user_id", "challenge")
_TAKE = Statement(
    delete(PasskeyChallengeRow)
    .where(
        PasskeyChallengeRow.id == bindparam("challenge_id"),
        _of_user,
        PasskeyChallengeRow.expires_at > func.now(),
    )
    .returning(PasskeyChallengeRow.challenge)
)
_DELETE_ALL = Statement(
    delete(PasskeyChallengeRow).where(PasskeyChallengeRow.user_id == bindparam("of_user"))
)


class PasskeyChallengeRepository(Repository):
    """Challenges inside a transaction: of a user who adds a passkey, or of nobody yet, for a login."""

    async def add(
        self, challenge_id: UUID, user_id: UUID | None, *, challenge: bytes, ttl: timedelta
    ) -> None:
        """Insert a challenge."""
        await self._tx.execute(_ADD, id=challenge_id, user_id=user_id, challenge=challenge, ttl=ttl)

    async def take(self, challenge_id: UUID, user_id: UUID | None) -> bytes | None:
        """Use up a live challenge of this user, or of nobody: one of many concurrent calls gets it."""
        return value_of(await self._tx.fetch_one(_TAKE, challenge_id=challenge_id, of_user=user_id))

    async def delete_all(self, user_id: UUID) -> None:
        """Delete the challenges of a user."""
        await self._tx.execute(_DELETE_ALL, of_user=user_id)
