"""The reads of every resource, each one statement outside a transaction."""

from service.db.core.read_pool import ReadPool
from service.db.core.replica import Replica, ReplicaRouter
from service.db.core.statements import Executor
from service.db.repositories.devices import DeviceReads
from service.db.repositories.emails import EmailReads
from service.db.repositories.events import EventReads
from service.db.repositories.keys import ApiKeyReads, ApiKeyTokenReads
from service.db.repositories.login import LoginReads
from service.db.repositories.login_challenges import LoginChallengeReads
from service.db.repositories.passkeys import PasskeyReads
from service.db.repositories.second_factors import SecondFactorReads
from service.db.repositories.sessions import SessionReads, SessionTokenReads
from service.db.repositories.signing_keys import SigningKeyReads
from service.db.repositories.users import UserReads
from service.domain.wal_position import WalPosition


class ReplicaReads:
    """The reads that a replica may serve. Holds no connection of its own."""

    def __init__(self, executor: Executor) -> None:
        self.users = UserReads(executor)
        self.sessions = SessionReads(executor)
        self.keys = ApiKeyReads(executor)
        self.events = EventReads(executor)
        self.passkeys = PasskeyReads(executor)
        self.devices = DeviceReads(executor)


class Reads(ReplicaReads):
    """The reads on the primary, including tokens and credentials, which no replica serves.

    With a replica, a caller found by token carries the WAL position of that read.
    """

    sessions: SessionTokenReads
    keys: ApiKeyTokenReads

    def __init__(self, read_pool: ReadPool, replica: Replica | None = None) -> None:
        super().__init__(read_pool)
        self.login = LoginReads(read_pool)
        self.challenges = LoginChallengeReads(read_pool)
        self.second_factors = SecondFactorReads(read_pool)
        self.emails = EmailReads(read_pool)
        self.signing_keys = SigningKeyReads(read_pool)
        self.sessions = SessionTokenReads(read_pool, with_wal_position=replica is not None)
        self.keys = ApiKeyTokenReads(read_pool, with_wal_position=replica is not None)
        self._replica = replica

    def at(self, wal_position: WalPosition | None) -> ReplicaReads:
        """Return reads that show everything up to a position and may use the replica, if there are both."""
        if self._replica is None or wal_position is None:
            return self
        return ReplicaReads(ReplicaRouter(self._replica, wal_position))
