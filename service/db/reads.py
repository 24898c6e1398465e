"""All single-statement reads, on the read lane."""

from service.db.core.read_pool import ReadPool
from service.db.core.replica import Replica, ReplicaRouter
from service.db.repositories.base import ReadExecutor
from service.db.repositories.events import EventReads
from service.db.repositories.keys import ApiKeyReads, ApiKeyTokenReads
from service.db.repositories.login import LoginReads
from service.db.repositories.sessions import SessionReads, SessionTokenReads
from service.db.repositories.users import UserReads
from service.domain.wal_position import WalPosition


class ReplicaReads:
    """The reads of every aggregate that may be as of a moment. Holds no connection of its own."""

    def __init__(self, read_pool: ReadExecutor) -> None:
        self.users = UserReads(read_pool)
        self.sessions = SessionReads(read_pool)
        self.keys = ApiKeyReads(read_pool)
        self.events = EventReads(read_pool)


class Reads(ReplicaReads):
    """The reads of every aggregate, from the primary; tokens and credentials are looked up in no other way.

    With a replica, whoever is found by a token carries the moment in which that was.
    """

    sessions: SessionTokenReads
    keys: ApiKeyTokenReads

    def __init__(self, read_pool: ReadPool, replica: Replica | None = None) -> None:
        super().__init__(read_pool)
        self.logins = LoginReads(read_pool)
        self.sessions = SessionTokenReads(read_pool, with_wal_position=replica is not None)
        self.keys = ApiKeyTokenReads(read_pool, with_wal_position=replica is not None)
        self._replica = replica

    def at(self, wal_position: WalPosition | None) -> ReplicaReads:
        """Give reads that the replica may answer, none older than the moment; without either, these."""
        if self._replica is None or wal_position is None:
            return self
        return ReplicaReads(ReplicaRouter(self._replica, wal_position))
