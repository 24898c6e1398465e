"""Logins that wait for their second factor."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, delete, func, insert, literal_column, select, update

from service.db.core.columns import Columns
from service.db.core.statements import Statement
from service.db.repositories.base import ReadRepository, Repository, from_now
from service.db.repositories.login import RECOGNITION, AttemptLookup, Recognition
from service.db.repositories.user_columns import USER
from service.db.tables import LoginChallengeRow, UserRow
from service.domain.factors import CHALLENGE_TRIES, CHALLENGE_TTL
from service.domain.networks import Networks
from service.domain.throttle import ThrottlePolicy
from service.domain.users import User


@dataclass(frozen=True, slots=True)
class ChallengedUser:
    """A user who has passed the first factor, and how their device and network are recognized."""

    user: User
    recognition: Recognition


def _is_open() -> ColumnElement[bool]:
    """Return whether the challenge `digest` can still be answered, by the database's clock."""
    return (
        (LoginChallengeRow.token_digest == bindparam("digest"))
        & (LoginChallengeRow.expires_at > func.now())
        & (LoginChallengeRow.tries < literal_column(str(CHALLENGE_TRIES)))
    )


_CHALLENGED = Columns(ChallengedUser, USER, RECOGNITION)
_FIND = AttemptLookup(
    _CHALLENGED, (LoginChallengeRow, _is_open()), (UserRow, UserRow.id == LoginChallengeRow.user_id)
)
_ADD = Statement(
    insert(LoginChallengeRow).values(expires_at=from_now("ttl")), "token_digest", "user_id", "amr"
)
# Locked before the challenge: whoever deletes a user has it first.
_owner = (
    select(UserRow.id)
    .join(LoginChallengeRow, LoginChallengeRow.user_id == UserRow.id)
    .where(LoginChallengeRow.token_digest == bindparam("digest"))
    .with_for_update(read=True, key_share=True, of=UserRow)
    .cte("owner")
)
_TRY = Statement(
    update(LoginChallengeRow)
    .where(_is_open(), LoginChallengeRow.user_id == _owner.c.id)
    .values(tries=LoginChallengeRow.tries + 1)
)
_LOCK = Statement(
    select(LoginChallengeRow.amr)
    .where(
        LoginChallengeRow.token_digest == bindparam("digest"),
        LoginChallengeRow.user_id == bindparam("of_user"),
    )
    .with_for_update()
)
_USE = Statement(delete(LoginChallengeRow).where(LoginChallengeRow.token_digest == bindparam("digest")))


class LoginChallengeReads(ReadRepository):
    """The read before a second factor."""

    async def find(
        self,
        token_digest: bytes | None,
        *,
        device_digest: bytes | None,
        networks: Networks,
        policy: ThrottlePolicy,
    ) -> tuple[ChallengedUser | None, timedelta | None]:
        """Return who has an open challenge, and the wait of networks with too many failures."""
        params = {"digest": token_digest, "device_digest": device_digest}
        return await _FIND.run(self._executor, networks, policy, **params)


class LoginChallengeRepository(Repository):
    """Challenges inside a transaction."""

    async def add(self, token_digest: bytes, user_id: UUID, amr: Sequence[str]) -> None:
        """Insert the challenge of a locked user who has passed the first factor in these ways."""
        await self._tx.execute(
            _ADD, token_digest=token_digest, user_id=user_id, amr=list(amr), ttl=CHALLENGE_TTL
        )

    async def begin_try(self, token_digest: bytes | None) -> bool:
        """Count a try before it is verified; return False without a challenge that has tries left.

        Locks: the user against deletion, then the challenge, until the transaction ends.
        """
        return await self._tx.execute(_TRY, digest=token_digest) == 1

    async def lock(self, token_digest: bytes, user_id: UUID) -> tuple[str, ...] | None:
        """Return the ways of the first factor if the user's challenge is still there after `begin_try`.

        Locks: the challenge, after the user, until the transaction ends.
        """
        row = await self._tx.fetch_one(_LOCK, digest=token_digest, of_user=user_id)
        return tuple(row[0]) if row is not None else None

    async def use(self, token_digest: bytes) -> None:
        """Use up a locked challenge."""
        await self._tx.execute(_USE, digest=token_digest)
