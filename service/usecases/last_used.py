"""Recording when sessions and keys were last used, in the background and in batches."""

from collections import defaultdict
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import timedelta
from functools import partial
from typing import Final
from uuid import UUID

from service.db.core.database import Database
from service.db.core.transaction import Transaction
from service.db.repositories.keys import ApiKeyRepository
from service.db.repositories.sessions import SessionRepository
from service.domain.callers import OPERATOR
from service.domain.sessions import AuthenticatedSession, SessionPolicy

FIRST_USE_AFTER: Final = timedelta(seconds=2)
"""A session that is used later than this after its login is in use, and not one of a script that logs in for
each request. Recorded at once, because the sessions that were never used end first."""

_BATCH: Final = 1000
"""Sessions written in one transaction: while only reads work, those in use add up to any number."""


class LastUsedTracker:
    """Collects uses until they are flushed. A session or key that ended meanwhile stays ended."""

    def __init__(self, policy: SessionPolicy) -> None:
        self._policy = policy
        self._sessions: defaultdict[UUID, set[UUID]] = defaultdict(set)
        """The used sessions, by user."""
        self._writing: dict[UUID, set[UUID]] = {}
        self._keys: set[UUID] = set()

    def record_session(self, found: AuthenticatedSession) -> None:
        """Record the use of a session, its first one and then at most one per `touch_interval`."""
        session, interval = found.session, self._policy.touch_interval
        if session.last_used_at == session.created_at:
            interval = min(interval, FIRST_USE_AFTER)
        if found.idle_for >= interval:
            self._sessions[session.user_id].add(session.id)

    def recorded_sessions_of(self, user_id: UUID) -> AbstractSet[UUID]:
        """Return the used sessions of a user that are not written yet."""
        return self._sessions.get(user_id, set()) | self._writing.get(user_id, set())

    def record_key(self, key_id: UUID) -> None:
        """Record the use of an API key."""
        self._keys.add(key_id)

    async def flush(self, database: Database) -> None:
        """Write the recorded uses; keep them if that fails, as writing them twice changes nothing.

        Locks: a batch of sessions at a time, then the keys.
        """
        sessions, self._sessions = self._sessions, defaultdict(set)
        keys, self._keys = self._keys, set()
        if not sessions and not keys:
            return
        self._writing = sessions
        try:
            await self._write(database, sorted(set().union(*sessions.values())), sorted(keys))
        except Exception:
            for user_id, used in sessions.items():
                self._sessions[user_id] |= used
            self._keys |= keys
            raise
        finally:
            self._writing = {}

    async def _write(self, database: Database, sessions: Sequence[UUID], keys: Sequence[UUID]) -> None:
        for start in range(0, len(sessions), _BATCH):
            batch = sessions[start : start + _BATCH]
            await database.run(partial(self._touch_sessions, batch), caller=OPERATOR)
        if keys:
            interval = self._policy.touch_interval
            await database.run(
                lambda tx: ApiKeyRepository(tx).touch(keys, interval=interval), caller=OPERATOR
            )

    async def _touch_sessions(self, ids: Sequence[UUID], tx: Transaction) -> None:
        policy = self._policy
        await SessionRepository(tx).touch(
            ids,
            interval=policy.touch_interval,
            user_idle_ttl=policy.user.idle_ttl,
            admin_idle_ttl=policy.admin.idle_ttl,
        )
