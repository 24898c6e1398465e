"""The cores and the memory that this process may use: those of the machine, or of its container."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_ROOT = Path("/")
_MEMORY_SHARE = 4


def default_workers(memory_kib: int, cores: int, memory_limit_bytes: int | None) -> int:
    """Return the number of hashing threads: one a core, within a quarter of the memory, at least 1."""
    if memory_limit_bytes is None:
        return cores
    return max(1, min(cores, memory_limit_bytes // _MEMORY_SHARE // (memory_kib * 1024)))


def available_cores(root: Path = _ROOT) -> int:
    """Return the number of usable cores, bounded by affinity and cgroup CPU quota, at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    return max(1, min([cores, *(int(quota) for quota in _cpu_quotas(root))]))


def memory_limit_bytes(root: Path = _ROOT) -> int | None:
    """Return the smaller of the cgroup memory limit and the machine's memory; None if unknown."""
    limits = [*_memory_limits(root), *_machine_memory()]
    return min(limits, default=None)


def _machine_memory() -> list[int]:
    try:
        return [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, ValueError, OSError):
        return []


def _cpu_quotas(root: Path) -> Iterator[float]:
    for group in _cgroups(root, ""):
        yield from _ratio(_words(group / "cpu.max"))
    for group in _cgroups(root, "cpu"):
        yield from _ratio([*_words(group / "cpu.cfs_quota_us"), *_words(group / "cpu.cfs_period_us")])


def _memory_limits(root: Path) -> Iterator[int]:
    files = [group / "memory.max" for group in _cgroups(root, "")]
    files += [group / "memory.limit_in_bytes" for group in _cgroups(root, "memory")]
    for file in files:
        for word in _words(file):
            if word.isdigit():
                yield int(word)


def _cgroups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the directories of this process's cgroup and of its parents; version 2 is the controller "".

    Each of them can set a limit, and inside a container the innermost is mounted on top.
    """
    mount = root / "sys/fs/cgroup" / controller
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            own = PurePosixPath(path)
            for group in (own, *own.parents):
                yield mount / group.relative_to("/")


def _ratio(words: list[str]) -> Iterator[float]:
    if len(words) == 2 and all(word.isdigit() for word in words) and int(words[1]) > 0:
        yield int(words[0]) / int(words[1])


def _words(file: Path) -> list[str]:
    return [word for line in _lines(file) for word in line.split()]


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
