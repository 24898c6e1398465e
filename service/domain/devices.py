"""Devices that users have logged in from."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Device:
    """A device that a user has logged in from, without its token."""

    id: UUID
    network: str
    """Where it was last seen."""
    created_at: datetime
    last_seen_at: datetime
    is_current: bool
    """Whether the session that asks was opened from it."""
