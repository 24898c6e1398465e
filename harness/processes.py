"""Processes and their descendants: what they use, and signals to them. Linux only: it reads /proc."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")


def postmaster_in(directory: Path) -> int:
    """Return the process id of the embedded PostgreSQL in a directory."""
    return int((directory / "data/postmaster.pid").read_text().splitlines()[0])


def children_of(pid: int) -> list[int]:
    """Return the living children of a process."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    except FileNotFoundError:
        return []


def family_of(pid: int) -> list[int]:
    """Return a process and all its descendants, parents first."""
    return [pid, *(member for child in children_of(pid) for member in family_of(child))]


def open_files_of(pid: int) -> int:
    """Return the number of file descriptors that a process has."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process, MiB."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def processor_s(*pids: int) -> float:
    """Return the processor time that processes have used so far, seconds."""
    return sum(_processor_s(Path(f"/proc/{pid}/stat")) for pid in pids)


def main_thread_s(pid: int) -> float:
    """Return the processor time that the first thread of a process has used so far, seconds."""
    return _processor_s(Path(f"/proc/{pid}/task/{pid}/stat"))


def processes_below(directory: Path) -> list[int]:
    """Return the processes whose working directory is inside a directory."""
    return [int(process.name) for process in Path("/proc").iterdir() if _works_in(process, directory)]


def signal_all(pids: list[int], number: signal.Signals) -> None:
    """Send a signal to those processes that still run."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Stop a process and all its descendants while the block runs."""
    family = family_of(pid)
    signal_all(family, signal.SIGSTOP)
    try:
        yield
    finally:
        signal_all(list(reversed(family)), signal.SIGCONT)


def _processor_s(stat: Path) -> float:
    user, system = stat.read_text(encoding="utf-8").rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / _TICKS_PER_SECOND


def _works_in(process: Path, directory: Path) -> bool:
    try:
        return process.name.isdigit() and (process / "cwd").resolve().is_relative_to(directory)
    except OSError:  # it has ended, or belongs to another user
        return False
