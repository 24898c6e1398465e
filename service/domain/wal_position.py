"""Positions in the write-ahead log of the database."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WalPosition:
    """A position in the write-ahead log; every change acknowledged before is at or before it.

    Positions of different timelines cannot be compared.
    """

    timeline: int
    position: int

    def includes(self, other: "WalPosition") -> bool:
        """Return whether a server at this position has every change up to the other one."""
        return self.timeline == other.timeline and self.position >= other.position
