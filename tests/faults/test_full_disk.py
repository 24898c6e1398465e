"""A full disk under PostgreSQL's data and write-ahead log."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from service.embedded.server import EmbeddedPostgres
from tests.support.clusters import copy_migrated_cluster
from tests.support.faults import FaultEnvironment, fault_environment
from tests.support.settings import settings_for_tests

pytestmark = pytest.mark.slow
SIZE_MIB = 160


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system, which only root may mount."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk takes root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(tmp_path)], check=True)
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def fill(disk: Path) -> Path:
    """Fill the file system, and return the file that does."""
    filler = disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(65536)):
            pass
    return filler


async def write(env: FaultEnvironment, prefix: str, count: int) -> tuple[set[str], set[str]]:
    """Create accounts; return the acknowledged ones and the rejected ones."""
    acknowledged, rejected = set[str](), set[str]()
    for number in range(count):
        login_id = f"{prefix}{number}"
        response = await env.api.post("/v1/users", {"login_id": login_id, "name": "N" * 200})
        assert response.status_code in {201, 503}
        if response.status_code == 201:
            acknowledged.add(login_id)
        elif response.json()["code"] == "database_unavailable":
            rejected.add(login_id)
    return acknowledged, rejected


async def test_write_on_a_full_disk_gets_503_and_succeeds_once_there_is_space(
    small_disk: Path,
) -> None:
    copy_migrated_cluster(small_disk / "server")
    with EmbeddedPostgres(small_disk / "server") as postgres:
        settings = settings_for_tests()
        async with fault_environment(postgres, small_disk / "server", postgres.dsn, settings) as env:
            env.api.token = (await env.api.admin()).token
            before, _ = await write(env, "before", 20)
            filler = fill(small_disk)
            during, rejected = await write(env, "during", 300)
            assert rejected, "the disk was not full"
            assert (await env.api.get("/health/live")).status_code == 200
            filler.unlink()
            await asyncio.to_thread(postgres.start)
            after: set[str] = set()
            async with asyncio.timeout(60):
                while not after:
                    after, _ = await write(env, f"after{len(after)}", 1)
            there = {login_id for (login_id,) in await env.database.fetch("SELECT login_id FROM users")}
            events = await env.database.fetch("SELECT count(*) FROM events WHERE action = 'user.created'")
    assert before | during | after <= there
    assert not rejected & there
    assert events == [(len(there) - 1,)]  # the administrator has no event
