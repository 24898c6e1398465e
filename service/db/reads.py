"""All single-statement reads, on the read lane."""

from service.db.core.read_pool import ReadLane
from service.db.core.replica import LaneAsOf, Replica
from service.db.repositories.base import Lane
from service.db.repositories.events import EventReads
from service.db.repositories.keys import ApiKeyReads, ApiKeyTokenReads
from service.db.repositories.login import LoginReads
from service.db.repositories.sessions import SessionReads, SessionTokenReads
from service.db.repositories.users import UserReads
from service.domain.wal_position import Moment


class ReadsAsOf:
    """The reads of every aggregate that may be as of a moment. Holds no connection of its own."""

    def __init__(self, lane: Lane) -> None:
        self.users = UserReads(lane)
        self.sessions = SessionReads(lane)
        self.keys = ApiKeyReads(lane)
        self.events = EventReads(lane)


class Reads(ReadsAsOf):
    """The reads of every aggregate, from the primary; tokens and credentials are looked up in no other way.

    With a replica, whoever is found by a token carries the moment in which that was.
    """

    sessions: SessionTokenReads
    keys: ApiKeyTokenReads

    def __init__(self, lane: ReadLane, replica: Replica | None = None) -> None:
        super().__init__(lane)
        self.logins = LoginReads(lane)
        self.sessions = SessionTokenReads(lane, tells_moment=replica is not None)
        self.keys = ApiKeyTokenReads(lane, tells_moment=replica is not None)
        self._replica = replica

    def at(self, moment: Moment | None) -> ReadsAsOf:
        """Give reads that the replica may answer, none older than the moment; without either, these."""
        if self._replica is None or moment is None:
            return self
        return ReadsAsOf(LaneAsOf(self._replica, moment))
