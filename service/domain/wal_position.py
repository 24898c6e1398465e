"""Moments in the life of the database."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WalPosition:
    """How far the database had got: what was acknowledged to anybody before, it holds.

    Positions are in the log of one timeline; a position on another says nothing about this one.
    """

    timeline: int
    position: int

    def includes(self, other: "WalPosition") -> bool:
        """Whether everything up to the other moment had happened by this one."""
        return self.timeline == other.timeline and self.position >= other.position
