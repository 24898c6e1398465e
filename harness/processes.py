"""Signals to whole families of processes. Linux only, as it reads /proc."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def postmaster_in(directory: Path) -> int:
    """Give the process id of the PostgreSQL server that lives in a directory of the embedded kind."""
    return int((directory / "data/postmaster.pid").read_text().splitlines()[0])


def children_of(pid: int) -> list[int]:
    """Give the living children of a process."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    except FileNotFoundError:
        return []


def family_of(pid: int) -> list[int]:
    """Give a process and all that descend from it, parents first."""
    return [pid, *(member for child in children_of(pid) for member in family_of(child))]


def open_files_of(pid: int) -> int:
    """Give how many file descriptors a process has."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def signal_all(pids: list[int], number: signal.Signals) -> None:
    """Send a signal to those that still live."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Stop a process and all that descend from it for as long as the block runs."""
    family = family_of(pid)
    signal_all(family, signal.SIGSTOP)
    try:
        yield
    finally:
        signal_all(list(reversed(family)), signal.SIGCONT)
