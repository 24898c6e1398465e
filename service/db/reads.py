"""All single-statement reads, on the read lane."""

from service.db.read_lane import ReadLane
from service.db.repositories.events import EventReads
from service.db.repositories.keys import ApiKeyReads
from service.db.repositories.logins import LoginReads
from service.db.repositories.sessions import SessionReads
from service.db.repositories.users import UserReads


class Reads:
    """The reads of every aggregate. Holds no connection of its own."""

    def __init__(self, lane: ReadLane) -> None:
        self.users = UserReads(lane)
        self.logins = LoginReads(lane)
        self.sessions = SessionReads(lane)
        self.keys = ApiKeyReads(lane)
        self.events = EventReads(lane)
