"""A comparison: what was measured here, beside a limit or a peer, and the goal for their ratio."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median


@dataclass
class Comparison:
    """Rounds of one comparison. The ratio is taken within each round, then its median over the rounds."""

    name: str
    against: str
    unit: str
    goal: float | None
    """None where there is none: both numbers are shown for orientation."""
    at_least: bool = True
    is_difference: bool = False
    """Whether the goal is for the difference instead of the ratio."""
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)

    def add(self, ours: float, theirs: float) -> None:
        self.ours.append(ours)
        self.theirs.append(theirs)

    @property
    def rounds(self) -> list[float]:
        pairs = zip(self.ours, self.theirs, strict=True)
        return [ours - theirs if self.is_difference else ours / theirs for ours, theirs in pairs]

    @property
    def ratio(self) -> float:
        return median(self.rounds)

    @property
    def is_met(self) -> bool:
        if self.goal is None:
            return True
        return self.ratio >= self.goal if self.at_least else self.ratio <= self.goal

    @property
    def goal_text(self) -> str:
        if self.goal is None:
            return "none"
        sign = "≥" if self.at_least else "≤"
        return f"{sign} +{self.goal:g} {self.unit}" if self.is_difference else f"{sign} {self.goal:g} ×"

    @property
    def ratio_text(self) -> str:
        return f"{self.ratio:+.0f} {self.unit}" if self.is_difference else f"{self.ratio:.2f} ×"


@dataclass
class Plan:
    """How long to measure, and on how many rows."""

    rounds: int
    seconds: float
    rows: int
    sessions: int


def interleaved(
    rounds: int, what: str, measure: dict[str, Callable[[], float]], *, warm_up: bool = True
) -> list[dict[str, float]]:
    """Measure all sides in each round, so that a slower moment of the machine slows all of them."""
    if warm_up:
        for each in measure.values():
            each()
    taken = []
    for number in range(rounds):
        taken.append({name: each() for name, each in measure.items()})
        shown = ", ".join(f"{name} {value:.4g}" for name, value in taken[-1].items())
        say(f"  {what}, round {number + 1} of {rounds}: {shown}")
    return taken


def say(line: str) -> None:
    """Print progress on standard error."""
    print(line, file=sys.stderr, flush=True)
