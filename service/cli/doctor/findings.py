"""Results of checks."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """Severity of a finding."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check, with a remedy unless it is ok."""

    check: str
    seen: str
    cure: str = ""
    level: Level = Level.OK


def warning(check: str, seen: str, cure: str) -> Finding:
    """Return a finding that should be fixed."""
    return Finding(check, seen, cure, Level.WARNING)


def problem(check: str, seen: str, cure: str) -> Finding:
    """Return a finding that must be fixed."""
    return Finding(check, seen, cure, Level.PROBLEM)
