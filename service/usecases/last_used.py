"""Noting when sessions and keys were last used, beside the requests and in batches."""

from datetime import timedelta
from uuid import UUID

from service.db.core.unit_of_work import UnitOfWork
from service.db.transaction import Tx
from service.domain.sessions import SessionPolicy


class LastUsedTracker:
    """Collects uses until they are written; what was ended meanwhile stays ended."""

    def __init__(self, policy: SessionPolicy) -> None:
        self._policy = policy
        self._sessions: set[UUID] = set()
        self._keys: set[UUID] = set()

    def record_session(self, session_id: UUID, idle_for: timedelta) -> None:
        """Note the use of a session, if its last noted one is long enough ago."""
        if idle_for >= self._policy.touch_interval:
            self._sessions.add(session_id)

    def record_key(self, key_id: UUID) -> None:
        """Note the use of an API key."""
        self._keys.add(key_id)

    async def flush(self, uow: UnitOfWork) -> None:
        """Write what was noted; what cannot be written now is kept for the next time.

        Locks: the sessions, then the keys.
        """
        sessions, self._sessions = self._sessions, set()
        keys, self._keys = self._keys, set()
        if not sessions and not keys:
            return
        try:
            await uow.run(lambda tx: self._write(tx, sessions, keys))
        except Exception:
            self._sessions |= sessions
            self._keys |= keys
            raise

    async def _write(self, tx: Tx, sessions: set[UUID], keys: set[UUID]) -> None:
        policy = self._policy
        if sessions:
            await tx.sessions.touch(
                sorted(sessions),
                interval=policy.touch_interval,
                user_idle_ttl=policy.user.idle_ttl,
                admin_idle_ttl=policy.admin.idle_ttl,
            )
        if keys:
            await tx.keys.touch(sorted(keys), interval=policy.touch_interval)
