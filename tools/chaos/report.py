"""What the storm prints."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from statistics import median

from rich.console import Console
from rich.table import Table

from harness.http_client import LONGEST_S
from tools.chaos.checker import Finding, Verdict
from tools.chaos.generator import Load
from tools.chaos.history import Outcome


@dataclass(slots=True)
class Log:
    """What happened, fault by fault."""

    rounds: Counter[str] = field(default_factory=Counter)
    recoveries_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    broken: list[Finding] = field(default_factory=list)
    """What was found wrong on the way."""


def is_clean(log: Log, load: Load, verdict: Verdict, leaks: list[str]) -> bool:
    """Whether every promise was kept."""
    in_time = all(seconds <= LONGEST_S for seconds in load.longest_s.values())
    return in_time and not (log.broken or verdict.lost or verdict.half_written or leaks or load.wrong_reads)


def print_report(console: Console, log: Log, load: Load, verdict: Verdict, leaks: list[str]) -> None:
    """Print the table, and below it everything that was found wrong."""
    console.print(_table(log, load, verdict))
    kills = log.rounds["worker killed"], log.rounds["postgresql killed"]
    console.print(
        f"{load.acknowledged} acknowledged, {kills[0]} workers and {kills[1]} database servers killed, "
        f"{len(verdict.lost)} lost, {len(verdict.half_written)} half-written, "
        f"{load.wrong_reads} wrong reads, longest request {max(load.longest_s.values(), default=0):.1f} s"
    )
    for finding in [*log.broken, *verdict.lost, *verdict.half_written]:
        console.print(f"WRONG after {finding.fault}: {finding.what}", style="red", highlight=False)
    for name in leaks:
        console.print(f"WRONG: {name} holds a password", style="red")


def _table(log: Log, load: Load, verdict: Verdict) -> Table:
    table = Table(title="lost and half (half-written) have to be 0, no request may take longer than 10 s")
    table.add_column("fault", no_wrap=True)
    for title in ("rounds", "requests", *Outcome, "lost", "half", "longest s", "recovery s", "max s"):
        table.add_column(title, justify="right")
    faults = sorted({*log.rounds, *(fault for fault, _ in load.counts)})
    for fault in faults:
        table.add_row(fault, *_row(fault, [fault], log, load, verdict))
    table.add_section()
    table.add_row("all", *_row(None, faults, log, load, verdict))
    return table


def _row(fault: str | None, faults: list[str], log: Log, load: Load, verdict: Verdict) -> list[str]:
    counts = [sum(load.counts[name, outcome] for name in faults) for outcome in Outcome]
    recoveries = [seconds for name in faults for seconds in log.recoveries_s.get(name, [])]
    found = [
        sum(fault in (None, finding.fault) for finding in findings)
        for findings in (verdict.lost, verdict.half_written)
    ]
    longest_s = max((load.longest_s.get(name, 0.0) for name in faults), default=0.0)
    return [
        *map(str, [sum(log.rounds[name] for name in faults), sum(counts), *counts, *found]),
        f"{longest_s:.2f}",
        *([f"{median(recoveries):.2f}", f"{max(recoveries):.2f}"] if recoveries else ["", ""]),
    ]
