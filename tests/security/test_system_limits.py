from pathlib import Path

import pytest

from service.security.hashing.system_limits import available_cores, default_workers, memory_limit_bytes

HOST_CORES = available_cores(Path("/nonexistent"))
HOST_BYTES = memory_limit_bytes(Path("/nonexistent"))
MIB = 1024 * 1024


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)), raising=False)


V2 = {"proc/self/cgroup": "0::/\n"}


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("max 100000", 4),
        ("200000 100000", 2),
        ("150000 100000", 1),
        ("50000 100000", 1),
        ("900000 100000", 4),
        ("rubbish", 4),
    ],
)
def test_available_cores_in_cgroup_v2_follows_the_quota(
    two_cores: None, tmp_path: Path, quota: str, cores: int
) -> None:
    assert available_cores(write(tmp_path, {**V2, "sys/fs/cgroup/cpu.max": quota + "\n"})) == cores


def test_available_cores_in_a_nested_cgroup_follows_the_parent(two_cores: None, tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/pod/app\n",
            "sys/fs/cgroup/pod/cpu.max": "200000 100000",
            "sys/fs/cgroup/pod/app/cpu.max": "max 100000",
        },
    )
    assert available_cores(root) == 2


@pytest.mark.parametrize(("quota", "cores"), [("-1", 4), ("300000", 3)])
def test_available_cores_in_cgroup_v1_follows_the_quota(
    two_cores: None, tmp_path: Path, quota: str, cores: int
) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "5:cpu,cpuacct:/box\n4:memory:/box\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": quota,
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
    )
    assert available_cores(root) == cores


def test_available_cores_without_cgroups_is_at_least_one() -> None:
    assert HOST_CORES >= 1


@pytest.mark.parametrize(
    ("limit", "expected"), [(str(64 * MIB), 64 * MIB), ("max", HOST_BYTES), ("", HOST_BYTES)]
)
def test_memory_limit_in_cgroup_v2_follows_the_file(tmp_path: Path, limit: str, expected: int) -> None:
    assert memory_limit_bytes(write(tmp_path, {**V2, "sys/fs/cgroup/memory.max": limit})) == expected


@pytest.mark.parametrize(
    ("limit", "expected"), [(str(64 * MIB), 64 * MIB), ("9223372036854771712", HOST_BYTES)]
)
def test_memory_limit_in_cgroup_v1_follows_the_file(tmp_path: Path, limit: str, expected: int) -> None:
    root = write(
        tmp_path,
        {"proc/self/cgroup": "4:memory:/box\n", "sys/fs/cgroup/memory/box/memory.limit_in_bytes": limit},
    )
    assert memory_limit_bytes(root) == expected


@pytest.mark.parametrize(
    ("memory_kib", "cores", "limit", "workers"),
    [
        (19456, 4, None, 4),
        (19456, 4, 2048 * MIB, 4),
        (19456, 4, 256 * MIB, 3),
        (65536, 4, 256 * MIB, 1),
        (65536, 4, 64 * MIB, 1),
        (19456, 1, 2048 * MIB, 1),
    ],
)
def test_default_workers_is_one_a_core_within_a_quarter_of_the_memory(
    memory_kib: int, cores: int, limit: int | None, workers: int
) -> None:
    assert default_workers(memory_kib, cores, limit) == workers
