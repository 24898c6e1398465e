"""The results as JSON, as a table and as a plot."""

import json
import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from math import log10
from pathlib import Path
from statistics import median
from xml.sax.saxutils import escape

from bench import load
from bench.comparison import Comparison, Plan

RESULTS = Path(__file__).with_name("results")
PACKAGES = ("litestar", "uvicorn", "uvloop", "httptools", "sqlalchemy", "asyncpg", "msgspec", "argon2-cffi")
PEER_PACKAGES = ("fastapi", "advanced-alchemy", "litestar", "sqlalchemy", "asyncpg", "uvicorn", "granian")


def write(comparisons: list[Comparison], plan: Plan, postgres: str, peers_python: Path) -> None:
    """Write all results, missed goals included."""
    RESULTS.mkdir(exist_ok=True)
    about = _machine(plan, postgres, peers_python)
    rows = [
        {**asdict(comparison), "ratio": comparison.ratio, "is_met": comparison.is_met}
        for comparison in comparisons
    ]
    (RESULTS / "results.json").write_text(json.dumps({"about": about, "comparisons": rows}, indent=1) + "\n")
    (RESULTS / "results.md").write_text(_markdown(comparisons, about))
    (RESULTS / "results.svg").write_text(_svg(comparisons))


def _load_average() -> list[float]:
    return [round(value, 2) for value in os.getloadavg()]


LOAD_BEFORE = _load_average()


def table(comparisons: Iterable[Comparison]) -> str:
    lines = [
        "| figure | Rollcall | measured against | theirs | ratio | goal | |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *map(_row, comparisons)])


def _row(comparison: Comparison) -> str:
    ours, theirs = _number(median(comparison.ours)), _number(median(comparison.theirs))
    cells = (
        comparison.name,
        f"{ours} {comparison.unit}",
        comparison.against,
        f"{theirs} {comparison.unit}",
        comparison.ratio_text,
        comparison.goal_text,
        _verdict(comparison),
    )
    return f"| {' | '.join(cells)} |"


def _verdict(comparison: Comparison) -> str:
    if comparison.goal is None:
        return ""
    return "met" if comparison.is_met else "**missed**"


def _machine(plan: Plan, postgres: str, peers_python: Path) -> dict[str, object]:
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release(),
        "load_average_at_the_start": LOAD_BEFORE,
        "load_average_at_the_end": _load_average(),
        "load_generator": "wrk, and bench/load.py" if load.WRK else "bench/load.py",
        "rounds": plan.rounds,
        "seconds_a_round": plan.seconds,
        "python": platform.python_version(),
        "postgresql": postgres,
        "versions": {name: version(name) for name in PACKAGES},
        "versions_of_peers": _versions_in(peers_python),
    }


def _versions_in(python: Path) -> dict[str, str]:
    program = f"from importlib.metadata import version; print(*map(version, {PEER_PACKAGES!r}))"
    printed = subprocess.run([str(python), "-c", program], check=True, capture_output=True, text=True).stdout
    return dict(zip(PEER_PACKAGES, printed.split(), strict=True))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


def _markdown(comparisons: list[Comparison], about: dict[str, object]) -> str:
    goals = [comparison for comparison in comparisons if comparison.goal is not None]
    missed = sum(not comparison.is_met for comparison in goals)
    facts = "\n".join(f"- {name.replace('_', ' ')}: {_fact(value)}" for name, value in about.items())
    return (
        "# Measured\n\nMedians of interleaved rounds; a ratio is taken within each round. "
        f"{len(goals)} goals, {missed} missed.\n\n![ratios](results.svg)\n\n{table(comparisons)}\n\n"
        f"## Where\n\n{facts}\n"
    )


def _fact(value: object) -> str:
    return (
        ", ".join(f"{name} {text}" for name, text in value.items()) if isinstance(value, dict) else str(value)
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _svg(comparisons: list[Comparison]) -> str:
    """Draw each ratio as a bar from its goal; right is better, whichever way the goal points."""
    drawn = [
        (comparison, comparison.goal)
        for comparison in comparisons
        if comparison.goal and not comparison.is_difference
    ]
    row, label, middle, width = 20, 560, 800, 1040
    height = row * len(drawn) + 50
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-size="11" ',
        'font-family="sans-serif">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{middle}" y="16" text-anchor="middle">the goal; right is better</text>',
    ]
    for number, (comparison, goal) in enumerate(drawn):
        y = 30 + number * row
        better = comparison.ratio / goal if comparison.at_least else goal / max(comparison.ratio, 1e-9)
        length = max(-220.0, min(220.0, 60 * log10(max(better, 1e-9)) / log10(2)))
        colour = "#2a7f4f" if comparison.is_met else "#b3402a"
        x = middle + min(0.0, length)
        parts.append(f'<text x="{label}" y="{y + 11}" text-anchor="end">{escape(_label(comparison))}</text>')
        parts.append(f'<rect x="{x:.0f}" y="{y}" width="{abs(length):.0f}" height="14" fill="{colour}"/>')
    parts.append(f'<line x1="{middle}" y1="24" x2="{middle}" y2="{height - 20}" stroke="black"/></svg>')
    return "\n".join(parts) + "\n"


def _label(comparison: Comparison) -> str:
    against = "baseline" if "raw asyncpg" in comparison.against else comparison.against
    return f"{comparison.name} ÷ {against}: {comparison.ratio_text} (goal {comparison.goal_text})"[:110]
