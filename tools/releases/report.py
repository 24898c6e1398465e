"""What a rehearsal of two releases has shown."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tools.rehearsal.load import LoadStats
from tools.releases.schemas import Schemas

_DIRECTIONS = ("up", "down")
_HEADING = "phase      moves  requests  failed  resets   p50 ms   p99 ms  ÷ quiet"


@dataclass(frozen=True, slots=True)
class Phase:
    """The requests that ended during one move, with their times in seconds."""

    name: str
    times_s: Sequence[float]
    failed: int
    resets: int


@dataclass(slots=True)
class Report:
    """Counts, times and sums. `problem` is what stopped the rehearsal early."""

    schemas: Schemas
    stats: LoadStats
    phases: list[Phase]
    enough: int
    max_slowdown: float
    lost: int = 0
    problem: str | None = None
    checks: dict[str, bool] = field(default_factory=dict)
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)

    @property
    def is_clean(self) -> bool:
        """Whether nothing failed, was lost or was too slow, and there were enough requests each way."""
        return (
            not (self.problem or self.stats.failed or self.lost or self.before != self.after or self.is_slow)
            and all(self.checks.values())
            and all(len(self._times_s(name)) >= self.enough for name in _DIRECTIONS)
        )

    @property
    def is_slow(self) -> bool:
        """Whether p99 of a direction is above `max_slowdown` times quiet; 0 stands for no limit."""
        slowdown = max(self._slowdown(name) for name in _DIRECTIONS)
        return 0 < self.max_slowdown < slowdown

    def lines(self) -> Iterator[str]:
        """Yield the report."""
        yield f"schema     {self.schemas.previous} to {self.schemas.top}"
        yield f"together   from {self.schemas.bottom}"
        yield _HEADING
        for name in ("quiet", "up", "together", "down"):
            yield self._row(name)
        yield from (f"           {count} × {what}" for what, count in self.stats.unexpected.most_common(10))
        yield f"read back  {len(self.stats.acknowledged)} users, {self.lost} lost"
        for table, total in self.before.items():
            after = self.after[table]
            yield f"{table:<10} {total} before, {after} after: {'equal' if total == after else 'DIFFERENT'}"
        yield from (f"{'yes' if is_met else 'NO':<10} {check}" for check, is_met in self.checks.items())
        if self.problem:
            yield f"stopped    {self.problem}"
        if self.is_slow:
            yield f"slow       p99 above {self.max_slowdown:g} times quiet: too slow, or a busy machine"
        yield f"verdict    {'clean' if self.is_clean else 'NOT CLEAN'}"

    def _row(self, name: str) -> str:
        phases, times_s = [phase for phase in self.phases if phase.name == name], self._times_s(name)
        failed, resets = sum(phase.failed for phase in phases), sum(phase.resets for phase in phases)
        p50, p99 = (1000 * _quantile(times_s, share) for share in (0.5, 0.99))
        return (
            f"{name:<10} {len(phases):>5} {len(times_s):>9} {failed:>7} {resets:>7} {p50:>8.1f} {p99:>8.1f}"
            f" {self._slowdown(name):>8.2f}"
        )

    def _slowdown(self, name: str) -> float:
        quiet = _quantile(self._times_s("quiet"), 0.99)
        return _quantile(self._times_s(name), 0.99) / quiet if quiet else 0.0

    def _times_s(self, name: str) -> list[float]:
        return [seconds for phase in self.phases if phase.name == name for seconds in phase.times_s]


def _quantile(times_s: Sequence[float], share: float) -> float:
    return sorted(times_s)[int(len(times_s) * share)] if times_s else 0.0
