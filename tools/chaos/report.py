"""The report of a chaos test."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from statistics import median

from rich.console import Console
from rich.table import Table

from harness.http_client import MAX_REQUEST_S, Outcome
from tools.chaos.checker import CheckResult, Violation
from tools.chaos.generator import Workload
from tools.chaos.mails import Period


@dataclass(slots=True)
class FaultLog:
    """What happened during the run, by fault."""

    rounds: Counter[str] = field(default_factory=Counter)
    recoveries_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    violations: list[Violation] = field(default_factory=list)
    periods: list[Period] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Mails:
    """The mails that the server has accepted, how many of them were copies, and what is wrong."""

    accepted: int
    repeated: int
    violations: list[Violation]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a run has shown."""

    log: FaultLog
    workload: Workload
    result: CheckResult
    mails: Mails
    leaks: list[str]
    """The logs that contain a password."""

    @property
    def violations(self) -> list[Violation]:
        """All broken promises but leaks, wrong reads and slow requests."""
        return [
            *self.log.violations,
            *self.result.lost,
            *self.result.half_written,
            *self.mails.violations,
        ]

    def is_clean(self) -> bool:
        """Return whether every promise was kept."""
        in_time = all(seconds <= MAX_REQUEST_S for seconds in self.workload.longest_s.values())
        return in_time and not (self.violations or self.leaks or self.workload.wrong_reads)

    def print(self, console: Console) -> None:
        """Print the table, a summary, and everything that is wrong."""
        console.print(self._table())
        kills = self.log.rounds["worker killed"], self.log.rounds["postgresql killed"]
        console.print(
            f"{self.workload.acknowledged} acknowledged, {kills[0]} workers and {kills[1]} database servers "
            f"killed, {len(self.result.lost)} lost, {len(self.result.half_written)} half-written, "
            f"{self.workload.wrong_reads} wrong reads, "
            f"longest request {max(self.workload.longest_s.values(), default=0):.1f} s, "
            f"{self.mails.accepted} mails, {self.mails.repeated} of them again, "
            f"{len(self.mails.violations)} wrong"
        )
        for violation in self.violations:
            console.print(
                f"WRONG after {violation.fault}: {violation.description}", style="red", highlight=False
            )
        for name in self.leaks:
            console.print(f"WRONG: {name} contains a password", style="red")

    def _table(self) -> Table:
        title = (
            f"lost and half (half-written) must be 0, no request may take longer than {MAX_REQUEST_S:.0f} s"
        )
        table = Table(title=title)
        table.add_column("fault", no_wrap=True)
        for name in ("rounds", "requests", *Outcome, "lost", "half", "longest s", "recovery s", "max s"):
            table.add_column(name, justify="right")
        counted = {fault for fault, _ in self.workload.counts}
        faults = sorted({*self.log.rounds, *counted, *(violation.fault for violation in self.violations)})
        for fault in faults:
            table.add_row(fault, *self._row([fault]))
        table.add_section()
        table.add_row("all", *self._row(faults))
        return table

    def _row(self, faults: list[str]) -> list[str]:
        counts = [sum(self.workload.counts[name, outcome] for name in faults) for outcome in Outcome]
        recoveries = [seconds for name in faults for seconds in self.log.recoveries_s.get(name, [])]
        violations = [
            sum(violation.fault in faults for violation in found)
            for found in (self.result.lost, self.result.half_written)
        ]
        longest_s = max((self.workload.longest_s.get(name, 0.0) for name in faults), default=0.0)
        return [
            *map(str, [sum(self.log.rounds[name] for name in faults), sum(counts), *counts, *violations]),
            f"{longest_s:.2f}",
            *([f"{median(recoveries):.2f}", f"{max(recoveries):.2f}"] if recoveries else ["", ""]),
        ]
