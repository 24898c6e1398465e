"""Rehearse the revisions of one release: down and up under load."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from tempfile import mkdtemp
from time import monotonic

import click
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from service.cli.console import print_result, print_status
from service.cli.target import MigrationTarget, configured_target
from service.db.migrations.compatibility import THIS_RELEASE
from service.db.migrations.history import alembic_config, list_revisions
from service.db.migrations.running import downgrade, upgrade
from service.db.migrations.scratch import scratch_database
from tools.rehearsal.environment import checksum, fill, hold_locks, make_key, serving
from tools.rehearsal.load import LoadStats, read_back, run_client

_PROCESSES, _CLIENTS = 2, 8

_HOLD = timedelta(seconds=1)

_Move = Callable[..., Awaitable[None]]

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class _Options:
    """The options of the command."""

    rows: int
    cycles: int
    requests: int
    minutes: float
    more_versions: Path | None


@dataclass(slots=True)
class _Progress:
    """The progress of the rehearsal."""

    ends_at: float
    cycles: int = 0
    is_changing: bool = False
    change_s: list[float] = field(default_factory=list)


@click.command()
@click.option("--rows", default=10_000, type=click.IntRange(0), show_default=True, help="Accounts to add.")
@click.option("--cycles", default=20, type=click.IntRange(1), show_default=True, help="Times down and up.")
@click.option("--requests", default=20_000, type=click.IntRange(1), show_default=True, help="At least.")
@click.option("--minutes", default=15.0, show_default=True, help="At most.")
@click.option("--more-versions", type=_FOLDER, help="A directory of revisions to try after the newest.")
def rehearse(rows: int, cycles: int, requests: int, minutes: float, more_versions: Path | None) -> None:
    """Migrate a copy of the database down and up under load; fail if a request fails or data is lost."""
    with configured_target() as migration:
        options = _Options(rows, cycles, requests, minutes, more_versions)
        if not list(_steps(options)):
            raise click.ClickException(
                "This release needs its newest revision, so it can serve no step down. Rehearse it with the"
                " previous release (make rehearse), or with --more-versions."
            )
        if not asyncio.run(_rehearse(migration, options)):
            raise click.ClickException("The rehearsal was not clean.")


async def _rehearse(migration: MigrationTarget, options: _Options) -> bool:
    print_status("copying the database")
    async with scratch_database(migration.dsn, is_copy=True) as dsn:
        await upgrade(dsn)
        print_status(f"adding {options.rows} users")
        await fill(dsn, options.rows)
        directory = Path(mkdtemp(prefix="rollcall-rehearsal-"))
        is_clean = await _run(migration, options, dsn, directory)
    if is_clean:
        shutil.rmtree(directory)
    else:
        print_status(f"the logs of the service are in {directory}")
    return is_clean


async def _run(migration: MigrationTarget, options: _Options, dsn: str, directory: Path) -> bool:
    before, key = await checksum(dsn), await make_key(dsn)
    async with serving(dsn, directory, _PROCESSES) as ports:
        progress = _Progress(ends_at=monotonic() + options.minutes * 60)
        stats = LoadStats(lambda: progress.is_changing)
        await _under_load(migration, options, dsn, key, ports, progress, stats)
        lost = await read_back(ports[0], key, stats.acknowledged)
    after = await checksum(dsn)
    is_clean = not (stats.failed or lost or before != after or progress.cycles < options.cycles)
    for line in _report(options, progress, stats, lost, before, after):
        print_result(line)
    print_result(f"verdict    {'clean' if is_clean else 'NOT CLEAN'}")
    return is_clean


async def _under_load(
    migration: MigrationTarget,
    options: _Options,
    dsn: str,
    key: str,
    ports: list[int],
    progress: _Progress,
    stats: LoadStats,
) -> None:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for number in range(_CLIENTS):
            group.create_task(run_client(ports[number % len(ports)], key, stats, stop))
        group.create_task(hold_locks(dsn, stop, _HOLD))
        try:
            while progress.cycles < options.cycles or stats.requests < options.requests:
                if monotonic() > progress.ends_at:
                    print_status("out of time")
                    break
                try:
                    await _cycle(migration, options, dsn, progress)
                except (CommandError, DBAPIError) as error:
                    print_status("a change failed: " + str(error).partition("\n")[0])
                    break
                print_status(f"cycle {progress.cycles}: {stats.requests} requests, {stats.failed} failed")
        finally:
            stop.set()


async def _cycle(migration: MigrationTarget, options: _Options, dsn: str, progress: _Progress) -> None:
    """Migrate down and up once, with a pause after each change for requests on a stable schema."""
    for move, target in _steps(options):
        progress.is_changing, started = True, monotonic()
        await move(dsn, target, lock_retry=migration.lock_retry, more_versions=options.more_versions)
        progress.is_changing = False
        progress.change_s.append(monotonic() - started)
        await asyncio.sleep(0.3)
    progress.cycles += 1


def _steps(options: _Options) -> Iterator[tuple[_Move, str]]:
    released = [revision.id for revision in list_revisions()]
    if THIS_RELEASE.needs < THIS_RELEASE.head:
        yield downgrade, released[-2]
        yield upgrade, released[-1]
    if options.more_versions is not None:
        config = alembic_config(more_versions=options.more_versions)
        more = [revision.id for revision in list_revisions(config)][len(released) :]
        yield from ((upgrade, each) for each in more)
        yield from ((downgrade, each) for each in reversed([released[-1], *more[:-1]]))


def _report(
    options: _Options,
    progress: _Progress,
    stats: LoadStats,
    lost: int,
    before: dict[str, str],
    after: dict[str, str],
) -> Iterator[str]:
    yield f"cycles     {progress.cycles} down and up, {options.rows} users added"
    yield f"changes    {len(progress.change_s)}, the longest {max(progress.change_s, default=0):.1f} s"
    yield f"requests   {stats.requests} ({len(stats.during_s)} of them during a change)"
    yield f"failed     {stats.failed}"
    yield f"resets     {stats.resets}"
    yield from (f"           {count} × {what}" for what, count in stats.unexpected.most_common(10))
    yield f"latency    during a change {_percentiles(stats.during_s)}; else {_percentiles(stats.outside_s)}"
    yield f"read back  {len(stats.acknowledged)} users, {lost} not as acknowledged"
    for table, total in before.items():
        is_equal = total == after[table]
        yield f"{table:<10} {total} before, {after[table]} after: {'equal' if is_equal else 'DIFFERENT'}"


def _percentiles(times_s: list[float]) -> str:
    if not times_s:
        return "nothing measured"
    ordered = sorted(times_s)
    p50, p99 = (ordered[int(len(ordered) * share)] * 1000 for share in (0.5, 0.99))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"
