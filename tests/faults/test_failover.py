"""A primary that is killed under load, and the standby that is promoted in its place."""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import pytest

from harness.database import DatabaseProbe
from harness.processes import postmaster_in
from harness.proxy import socket_directory_of
from service.embedded.server import EmbeddedPostgres
from tests.support.api import Api, serving
from tests.support.clusters import copy_migrated_cluster
from tests.support.settings import settings_for_tests
from tests.support.standbys import standby_of

pytestmark = pytest.mark.slow
WRITERS = 8
WRITES_AROUND_FAILOVER = 200
"""So many are acknowledged before the primary is killed, and after the standby was promoted."""
MAX_FAILOVER_S = 10.0


@dataclass
class Writer:
    """Creates accounts one after the other, and records the outcomes."""

    api: Api
    number: int
    acknowledged: dict[str, float] = field(default_factory=dict)
    """When each account was acknowledged, by login id."""
    rejected: set[str] = field(default_factory=set)
    longest_s: float = 0.0
    is_done: bool = False

    async def run(self) -> None:
        count = 0
        while not self.is_done:
            count += 1
            login_id = f"w{self.number}-{count}"
            response = await self.api.post("/v1/users", {"login_id": login_id, "name": "W"})
            self.longest_s = max(self.longest_s, response.elapsed.total_seconds())
            if response.status_code == 201:
                self.acknowledged[login_id] = perf_counter()
            else:
                assert response.status_code == 503, response.text
                if response.json()["code"] == "database_unavailable":
                    self.rejected.add(login_id)
                await asyncio.sleep(0.05)


def acknowledged_after(writers: list[Writer], moment: float) -> list[float]:
    """Return when writes were acknowledged after a moment."""
    return [at for writer in writers for at in writer.acknowledged.values() if at > moment]


async def wait_for_writes(writers: list[Writer], *, after: float, count: int = 1) -> None:
    """Wait until so many writes have been acknowledged after a moment."""
    async with asyncio.timeout(MAX_FAILOVER_S):
        while len(acknowledged_after(writers, after)) < count:  # noqa: ASYNC110 - a condition on all writers
            await asyncio.sleep(0.02)


async def wait_for_rejection(writers: list[Writer]) -> None:
    """Wait until a writer has noticed that the primary is gone."""
    async with asyncio.timeout(MAX_FAILOVER_S):
        while not any(writer.rejected for writer in writers):  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.02)


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[DatabaseProbe, DatabaseProbe, int]]:
    """Run a primary and a synchronous standby; yield both, and the primary's process id."""
    directory = Path(tempfile.mkdtemp(prefix="rollcall-pair-"))  # short, for the paths of sockets
    try:
        copy_migrated_cluster(directory / "primary")
        with (
            EmbeddedPostgres(directory / "primary") as postgres,
            standby_of(postgres.dsn, directory / "standby") as running,
        ):
            primary, standby = DatabaseProbe(postgres.dsn), DatabaseProbe(running.dsn)
            await primary.run("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
            async with asyncio.timeout(60):
                while ("sync",) not in await primary.fetch("SELECT sync_state FROM pg_stat_replication"):
                    pass
            yield primary, standby, postmaster_in(directory / "primary")
    finally:
        shutil.rmtree(directory)


async def test_write_after_a_failover_goes_to_the_promoted_standby() -> None:
    async with pair() as (primary, standby, postmaster):
        hosts = f"{socket_directory_of(primary.dsn)},{socket_directory_of(standby.dsn)}"
        dsn = f"postgresql:///rollcall?host={hosts}&port=5432,5432&user=rollcall&target_session_attrs=read-write"
        async with serving(settings_for_tests(), dsn) as running, running.client() as client:
            root = Api(client, running.service)
            root = root.by(await root.admin())
            writers = [Writer(root, number) for number in range(WRITERS)]
            tasks = [asyncio.create_task(writer.run()) for writer in writers]
            await wait_for_writes(writers, after=0, count=WRITES_AROUND_FAILOVER)
            killed_at = perf_counter()
            os.kill(postmaster, signal.SIGKILL)
            await wait_for_rejection(writers)
            promoted_at = perf_counter()
            await standby.run("SELECT pg_promote()")
            await wait_for_writes(writers, after=promoted_at)
            back_at = min(acknowledged_after(writers, promoted_at))
            await wait_for_writes(writers, after=promoted_at, count=WRITES_AROUND_FAILOVER)
            for writer in writers:
                writer.is_done = True
            await asyncio.gather(*tasks)
            assert (await root.get("/v1/users/me")).status_code == 200
            assert (await root.get("/health/ready")).status_code == 200

        there = {login_id for (login_id,) in await standby.fetch("SELECT login_id FROM users")}
    acknowledged = {login_id for writer in writers for login_id in writer.acknowledged}
    rejected = {login_id for writer in writers for login_id in writer.rejected}
    sys.stdout.write(
        f"\n{len(acknowledged)} acknowledged, {len(acknowledged - there)} lost; acknowledged again "
        f"{back_at - killed_at:.2f} s after the kill, {back_at - promoted_at:.2f} s after promotion began; "
        f"longest request {max(writer.longest_s for writer in writers):.2f} s\n"
    )
    assert acknowledged <= there
    assert not rejected & there
    assert max(writer.longest_s for writer in writers) < MAX_FAILOVER_S
