"""Two releases together on one database, behind one balancer, while schema and processes move."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Final

from alembic.util import CommandError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from service.cli.console import print_status
from service.db.instances import LIVE_FOR
from service.db.migrations.compatibility import HAS_SERVES_FROM
from service.db.migrations.running import connection_to, downgrade, upgrade
from service.db.release_guard import LiveProcessUnserved
from tools.rehearsal.environment import checksum, fill, make_key
from tools.rehearsal.load import LoadStats, read_back, run_client
from tools.releases.balancer import CHECK_INTERVAL_S, balancer
from tools.releases.checkout import Checkout
from tools.releases.processes import Fleet, status_of, wait_until_ready
from tools.releases.report import Phase, Report
from tools.releases.schemas import Schemas

_QUIET_REQUESTS: Final = 2_000
_STEPS_TOGETHER: Final = 3
"""Times up and down while both releases serve, in each round."""


@dataclass(frozen=True, slots=True)
class Options:
    """How large the rehearsal is."""

    rows: int
    requests: int
    """At least so many in each direction."""
    minutes: float
    max_slowdown: float
    """Of p99, times quiet; 0 stands for no limit."""
    freezes: bool
    """Whether to freeze an old process over a contract step, which takes half a minute."""
    clients: int
    """Users at once, each with its next request as soon as the last one ended."""
    processes: int
    """Of each release."""
    drain_delay: float
    """Seconds in which a process that ends still serves, so that the balancer notices."""


@dataclass(slots=True)
class Rehearsal:
    """Moves schema and processes up and down, and records what the clients see."""

    options: Options
    dsn: str
    schemas: Schemas
    old: Fleet
    new: Fleet
    stats: LoadStats
    ends_at: float
    phases: list[Phase] = field(default_factory=list)
    requests: dict[str, int] = field(default_factory=lambda: {"up": 0, "down": 0})

    async def run(self) -> None:
        """Repeat both directions until there were enough requests in each."""
        async with self._phase("quiet"):
            await self._until(min(_QUIET_REQUESTS, self.options.requests))
        while min(self.requests.values()) < self.options.requests and monotonic() < self.ends_at:
            await self._up()
            await self._down()
            print_status(f"{self.stats.requests} requests, {self.stats.failed} failed")

    async def _up(self) -> None:
        """Schema up, new processes in; steps while both serve; old processes out."""
        async with self._phase("up"):
            await self._move(self.schemas.top)
            await self.new.start()
        async with self._phase("together"):
            for _ in range(_STEPS_TOGETHER):
                for target in (self.schemas.bottom, self.schemas.top):
                    await self._move(target)
        async with self._phase("up"):
            await self.old.stop()

    async def _down(self) -> None:
        """Old processes in, new processes out, schema down."""
        async with self._phase("down"):
            await self.old.start()
            await asyncio.sleep(10 * CHECK_INTERVAL_S)  # until the balancer has seen it
            await self.new.stop()
            await self._move(self.schemas.previous)

    async def _move(self, target: str) -> None:
        """Bring the schema to a revision, whichever way that is."""
        current = await _fetch(self.dsn, "SELECT version_num FROM alembic_version")
        if current != target:
            step = upgrade if target > current else downgrade
            await step(self.dsn, target, more_versions=self.schemas.more_versions)

    async def _until(self, requests: int) -> None:
        enough = self.stats.requests + requests
        while self.stats.requests < enough and monotonic() < self.ends_at:  # noqa: ASYNC110 - many clients count
            await asyncio.sleep(0.1)

    @asynccontextmanager
    async def _phase(self, name: str) -> AsyncIterator[None]:
        """Attribute the requests that end while the block runs."""
        first, failed, resets = len(self.stats.outside_s), self.stats.failed, self.stats.resets
        yield
        times_s = self.stats.outside_s[first:]
        self.phases.append(Phase(name, times_s, self.stats.failed - failed, self.stats.resets - resets))
        if name in self.requests:
            self.requests[name] += len(times_s)


async def rehearse(
    dsn: str, directory: Path, old: Checkout, new: Checkout, schemas: Schemas, options: Options
) -> Report:
    """Run a rehearsal on an empty database and return its report."""
    await upgrade(dsn, schemas.previous)
    print_status(f"adding {options.rows} users")
    await fill(dsn, options.rows)
    before, key = await checksum(dsn), await make_key(dsn)
    fleet = partial(
        Fleet,
        dsn=dsn,
        directory=directory,
        processes=options.processes,
        drain_delay_s=options.drain_delay,
    )
    old_fleet, new_fleet = fleet("old", old), fleet("new", new)
    stats = LoadStats(lambda: False)
    rehearsal = Rehearsal(
        options, dsn, schemas, old_fleet, new_fleet, stats, ends_at=monotonic() + options.minutes * 60
    )
    report = Report(
        schemas, stats, rehearsal.phases, enough=options.requests, max_slowdown=options.max_slowdown
    )
    try:
        async with balancer(directory, {**old_fleet.ports, **new_fleet.ports}) as port:
            await old_fleet.start()
            await wait_until_ready(port)  # the balancer looks for itself
            await _under_load(port, key, rehearsal, report)
            report.lost = await read_back(port, key, stats.acknowledged)
        if not (report.problem or schemas.is_broken):
            report.checks = await _check_contract(rehearsal, key)
    finally:
        await asyncio.gather(old_fleet.stop(), new_fleet.stop())
    report.before, report.after = before, await checksum(dsn)
    return report


async def _under_load(port: int, key: str, rehearsal: Rehearsal, report: Report) -> None:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(rehearsal.options.clients):
            group.create_task(run_client(port, key, rehearsal.stats, stop))
        try:
            await rehearsal.run()
        except (CommandError, DBAPIError, TimeoutError) as error:
            report.problem = str(error).partition("\n")[0] or type(error).__name__
        finally:
            stop.set()


async def _check_contract(rehearsal: Rehearsal, key: str) -> dict[str, bool]:
    """Try a contract step while an old process is live, and then while it is frozen."""
    schemas, old = rehearsal.schemas, rehearsal.old
    process = next(iter(old.running.values()))
    checks = {"contract step while the old release is live: rejected by name": False}
    try:
        await upgrade(rehearsal.dsn, schemas.contract, more_versions=schemas.contract_versions)
    except LiveProcessUnserved as error:
        checks = dict.fromkeys(checks, f"process {process.pid}" in str(error))
    # A release that does not read serves_from is stopped by nothing when it wakes.
    if not rehearsal.options.freezes or old.checkout.release.head < HAS_SERVES_FROM:
        return checks
    return checks | await _check_frozen(rehearsal, key)


async def _check_frozen(rehearsal: Rehearsal, key: str) -> dict[str, bool]:
    """Apply a contract step while the last old process is frozen, and continue that process."""
    schemas, old = rehearsal.schemas, rehearsal.old
    name, *others = old.running
    process, port = old.running[name], old.ports[name]
    for other in others:
        await old.stop_one(other)
    process.send_signal(signal.SIGSTOP)
    print_status(f"{name} is frozen for {LIVE_FOR.total_seconds():.0f} seconds")
    await asyncio.sleep(LIVE_FOR.total_seconds() + 1)
    await upgrade(rehearsal.dsn, schemas.contract, more_versions=schemas.contract_versions)
    users = await _fetch(rehearsal.dsn, "SELECT count(*) FROM users")
    process.send_signal(signal.SIGCONT)
    ready = await status_of(port, "GET", "/health/ready")
    body = {"login_id": "rehearsal-frozen", "name": "Frozen"}
    written = [await status_of(port, "POST", "/v1/users", key, body) for _ in range(5)]
    unchanged = await _fetch(rehearsal.dsn, "SELECT count(*) FROM users") == users
    await downgrade(rehearsal.dsn, schemas.previous, more_versions=schemas.contract_versions, force=True)
    return {
        "process frozen over a contract step: not ready at once": ready == 503,
        "process frozen over a contract step: writes nothing": set(written) == {503} and unchanged,
    }


async def _fetch(dsn: str, query: str) -> Any:
    async with connection_to(dsn) as connection:
        return await connection.scalar(text(query))
