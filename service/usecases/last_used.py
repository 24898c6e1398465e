"""Recording when sessions and keys were last used, in the background and in batches."""

from datetime import timedelta
from uuid import UUID

from service.db.core.database import Database
from service.db.core.transaction import Transaction
from service.db.repositories.keys import ApiKeyRepository
from service.db.repositories.sessions import SessionRepository
from service.domain.callers import OPERATOR
from service.domain.sessions import SessionPolicy


class LastUsedTracker:
    """Collects uses until they are flushed. A session or key that ended meanwhile stays ended."""

    def __init__(self, policy: SessionPolicy) -> None:
        self._policy = policy
        self._sessions: set[UUID] = set()
        self._keys: set[UUID] = set()

    def record_session(self, session_id: UUID, idle_for: timedelta) -> None:
        """Record the use of a session, at most once per `touch_interval`."""
        if idle_for >= self._policy.touch_interval:
            self._sessions.add(session_id)

    def record_key(self, key_id: UUID) -> None:
        """Record the use of an API key."""
        self._keys.add(key_id)

    async def flush(self, database: Database) -> None:
        """Write the recorded uses; keep them if that fails.

        Locks: the sessions, then the keys.
        """
        sessions, self._sessions = self._sessions, set()
        keys, self._keys = self._keys, set()
        if not sessions and not keys:
            return
        try:
            await database.run(lambda tx: self._write(tx, sessions, keys), caller=OPERATOR)
        except Exception:
            self._sessions |= sessions
            self._keys |= keys
            raise

    async def _write(self, tx: Transaction, sessions: set[UUID], keys: set[UUID]) -> None:
        policy = self._policy
        if sessions:
            await SessionRepository(tx).touch(
                sorted(sessions),
                interval=policy.touch_interval,
                user_idle_ttl=policy.user.idle_ttl,
                admin_idle_ttl=policy.admin.idle_ttl,
            )
        if keys:
            await ApiKeyRepository(tx).touch(sorted(keys), interval=policy.touch_interval)
