"""Services that read from a standby, whose replay tests can pause."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from harness.database import DatabaseProbe
from harness.proxy import Proxy
from service.db.core.replica import Outcome, Replica
from tests.support.api import Account, Api, RunningService
from tests.support.standbys import Standby


@dataclass(frozen=True)
class Pair:
    """A primary with an asynchronous standby, and a probe of each."""

    directory: Path
    primary: DatabaseProbe
    standby: DatabaseProbe
    server: Standby

    async def pause(self) -> None:
        """Pause replay once the standby has caught up."""
        ((position,),) = await self.primary.fetch("SELECT pg_current_wal_insert_lsn()::text")
        reached = f"SELECT pg_last_wal_replay_lsn() >= '{position}'"
        await wait_until(lambda: self._holds_on_standby(reached))
        await self.standby.run("SELECT pg_wal_replay_pause()")
        await wait_until(lambda: self._holds_on_standby("SELECT pg_get_wal_replay_pause_state() = 'paused'"))

    async def resume(self) -> None:
        """Resume replay."""
        await self.standby.run("SELECT pg_wal_replay_resume()")

    async def _holds_on_standby(self, query: str) -> bool:
        ((value,),) = await self.standby.fetch(query)
        return bool(value)


@dataclass(frozen=True)
class ReplicaEnvironment:
    """Two services on the same pair, a client of each, and the proxy before the standby."""

    pair: Pair
    proxy: Proxy
    running: RunningService
    one: Api
    other: Api

    @property
    def replica(self) -> Replica:
        return replica_of(self.one)

    @asynccontextmanager
    async def reading(self, outcome: Outcome) -> AsyncIterator[None]:
        """Expect at least one read of the first service in the block, and this outcome of each."""
        before = dict(self.replica.outcomes)
        yield
        seen = {name for name, count in self.replica.outcomes.items() if count > before[name]}
        assert seen == {outcome}


def replica_of(api: Api) -> Replica:
    replica = api.service.replica
    assert replica is not None
    return replica


async def is_healthy(api: Api) -> bool:
    await replica_of(api).probe()
    return replica_of(api).is_healthy


async def wait_until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(120):
        while True:
            try:
                if await holds():
                    return
            except (OSError, httpx.HTTPError):
                pass  # not listening yet
            await asyncio.sleep(0.01)


async def uses_replica(api: Api, path: str) -> bool:
    """Return whether a read of the path, which must succeed, uses the replica."""
    outcomes = replica_of(api).outcomes
    before = outcomes[Outcome.ANSWERED]
    assert (await api.get(path)).status_code == 200
    return outcomes[Outcome.ANSWERED] > before


async def root_of(env: ReplicaEnvironment) -> tuple[Account, Api, Api]:
    """Return an administrator that the standby has, as an account and as a client of each service."""
    admin = await env.one.admin()
    root = env.one.by(admin)
    await wait_until(lambda: uses_replica(root, "/v1/users"))
    return admin, root, env.other.by(admin)
