"""`database rehearse`."""

import asyncio
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
from service.cli.rehearse.environment import checksum, fill, make_key, serving, stand_in_the_way
from service.cli.rehearse.load import Tally, live, read_back
from service.cli.target import MigrationTarget, configured_target
from service.db.migrations.history import alembic_config, list_revisions
from service.db.migrations.running import downgrade, upgrade
from service.db.migrations.scratch import scratch_database

_PROCESSES, _CLIENTS = 2, 8

_HOLD = timedelta(seconds=1)

_Move = Callable[..., Awaitable[None]]

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class _Aim:
    """How much is enough."""

    rows: int
    cycles: int
    requests: int
    minutes: float
    more_versions: Path | None


@dataclass(slots=True)
class _Course:
    """How the rehearsal goes."""

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
    """Go down and up on a copy of the database, under load, and show that nothing fails or is lost."""
    with configured_target() as migration:
        aim = _Aim(rows, cycles, requests, minutes, more_versions)
        if not asyncio.run(_rehearse(migration, aim)):
            raise click.ClickException("The rehearsal was not clean.")


async def _rehearse(migration: MigrationTarget, aim: _Aim) -> bool:
    print_status("copying the database")
    async with scratch_database(migration.dsn, is_copy=True) as dsn:
        await upgrade(dsn)
        print_status(f"adding {aim.rows} accounts")
        await fill(dsn, aim.rows)
        log = Path(mkdtemp(prefix="rollcall-rehearsal-")) / "service.log"
        is_clean = await _perform(migration, aim, dsn, log)
    if is_clean:
        log.unlink()
        log.parent.rmdir()
    else:
        print_status(f"what the service logged is in {log}")
    return is_clean


async def _perform(migration: MigrationTarget, aim: _Aim, dsn: str, log: Path) -> bool:
    before, key = await checksum(dsn), await make_key(dsn)
    with log.open("wb") as writing:
        async with serving(dsn, writing, _PROCESSES) as ports:
            course = _Course(ends_at=monotonic() + aim.minutes * 60)
            tally = Tally(lambda: course.is_changing)
            await _under_load(migration, aim, dsn, key, ports, course, tally)
            lost = await read_back(ports[0], key, tally.promised)
    after = await checksum(dsn)
    is_clean = not (tally.failed or lost or before != after or course.cycles < aim.cycles)
    for line in _report(aim, course, tally, lost, before, after):
        print_result(line)
    print_result(f"verdict    {'clean' if is_clean else 'NOT CLEAN'}")
    return is_clean


async def _under_load(
    migration: MigrationTarget, aim: _Aim, dsn: str, key: str, ports: list[int], course: _Course, tally: Tally
) -> None:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for number in range(_CLIENTS):
            group.create_task(live(ports[number % len(ports)], key, tally, stop))
        group.create_task(stand_in_the_way(dsn, stop, _HOLD))
        try:
            while course.cycles < aim.cycles or tally.requests < aim.requests:
                if monotonic() > course.ends_at:
                    print_status("out of time")
                    break
                try:
                    await _cycle(migration, aim, dsn, course)
                except (CommandError, DBAPIError) as error:
                    print_status("a change failed: " + str(error).partition("\n")[0])
                    break
                print_status(f"cycle {course.cycles}: {tally.requests} requests, {tally.failed} failed")
        finally:
            stop.set()


async def _cycle(migration: MigrationTarget, aim: _Aim, dsn: str, course: _Course) -> None:
    """Take the steps of one way down and up, with a pause between for requests on a quiet schema."""
    for move, target in _way(aim):
        course.is_changing, started = True, monotonic()
        await move(dsn, target, lock_retry=migration.lock_retry, more_versions=aim.more_versions)
        course.is_changing = False
        course.change_s.append(monotonic() - started)
        await asyncio.sleep(0.3)
    course.cycles += 1


def _way(aim: _Aim) -> Iterator[tuple[_Move, str]]:
    released = [revision.id for revision in list_revisions()]
    yield downgrade, released[-2]
    yield upgrade, released[-1]
    if aim.more_versions is not None:
        config = alembic_config(more_versions=aim.more_versions)
        more = [revision.id for revision in list_revisions(config)][len(released) :]
        yield from ((upgrade, each) for each in more)
        yield from ((downgrade, each) for each in reversed([released[-1], *more[:-1]]))


def _report(
    aim: _Aim, course: _Course, tally: Tally, lost: int, before: dict[str, str], after: dict[str, str]
) -> Iterator[str]:
    yield f"cycles     {course.cycles} down and up, {aim.rows} accounts added"
    yield f"changes    {len(course.change_s)}, the longest {max(course.change_s, default=0):.1f} s"
    yield f"requests   {tally.requests} ({len(tally.during_s)} of them during a change)"
    yield f"failed     {tally.failed}"
    yield f"resets     {tally.resets}"
    yield from (f"           {count} × {what}" for what, count in tally.unexpected.most_common(10))
    yield f"latency    during a change {_percentiles(tally.during_s)}; else {_percentiles(tally.outside_s)}"
    yield f"promised   {len(tally.promised)} accounts read back, {lost} not as acknowledged"
    for table, total in before.items():
        is_equal = total == after[table]
        yield f"{table:<10} {total} before, {after[table]} after: {'equal' if is_equal else 'DIFFERENT'}"


def _percentiles(times_s: list[float]) -> str:
    if not times_s:
        return "nothing measured"
    ordered = sorted(times_s)
    p50, p99 = (ordered[int(len(ordered) * share)] * 1000 for share in (0.5, 0.99))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"
