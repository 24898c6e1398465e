"""Render the state of the schema and plans to change it, as text and as JSON."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from sqlalchemy.ext.asyncio import AsyncEngine

from service.console import print_status
from service.db import instances
from service.db.migrations import parking
from service.db.migrations.compatibility import SUPPORTED, SchemaStatus, read_revision
from service.db.migrations.history import list_revisions, steps_between
from service.db.migrations.plan import StepPlan

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Yield a function that reports progress: with a spinner on a terminal, otherwise line by line."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield print_status
        return
    with console.status("starting") as shown:

        def report(line: str) -> None:
            console.print(f"  {line}", highlight=False, markup=False)
            shown.update(line)

        yield report


async def read_parked(engine: AsyncEngine) -> dict[str, int]:
    """Return the size in bytes of each parked table or column by name."""
    async with engine.connect() as connection:
        return await connection.run_sync(parking.list_parked)


async def read_status(engine: AsyncEngine) -> dict[str, Any]:
    """Return the state of the schema as `database status --json` prints it."""
    revision = await read_revision(engine)
    standing = SUPPORTED.classify(revision)
    is_known = revision is None or revision in {each.id for each in list_revisions()}
    live = await instances.list_live(engine)
    return {
        "revision": revision,
        "head": list_revisions()[-1].id,
        "standing": standing,
        "serves": {"oldest": SUPPORTED.oldest, "newest": SUPPORTED.newest},
        "pending": [step.revision.id for step in steps_between(revision, "head")] if is_known else [],
        "parked": [{"name": name, "bytes": size} for name, size in (await read_parked(engine)).items()],
        "instances": None if live is None else [_instance(each) for each in live],
    }


def _instance(each: instances.Instance) -> dict[str, Any]:
    return {
        "id": str(each.id),
        "host": each.host,
        "pid": each.pid,
        "release": each.release,
        "oldest_revision": each.oldest_revision,
        "newest_revision": each.newest_revision,
    }


def status_in_words(found: dict[str, Any]) -> str:
    """Return the status as text."""
    return "\n".join(_status_lines(found))


def _status_lines(found: dict[str, Any]) -> Iterator[str]:
    yield f"schema     {found['revision'] or 'base (no revision)'}"
    yield f"head       {found['head']}"
    yield f"serves     {SUPPORTED}: {_STANDINGS[found['standing']]}"
    yield f"pending    {', '.join(found['pending']) or 'nothing'}"
    parked = {each["name"]: each["bytes"] for each in found["parked"]}
    yield f"parked     {parked_in_words(parked) if parked else 'nothing'}"
    yield f"processes  {_processes(found['instances'])}"


_STANDINGS = {
    SchemaStatus.INSIDE: "this release can serve it",
    SchemaStatus.BEHIND: "too old for this release; migrate",
    SchemaStatus.AHEAD: "too new for this release; deploy the release it belongs to",
    SchemaStatus.UNMIGRATED: "empty; migrate",
    SchemaStatus.UNKNOWN: "not a revision of ours",
}


def _processes(live: list[dict[str, Any]] | None) -> str:
    if live is None:
        return "unknown: this revision has no heartbeats"
    return "; ".join(f"{each['host']} process {each['pid']} ({each['release']})" for each in live) or "none"


def parked_in_words(parked: dict[str, int]) -> str:
    """Return what is parked as text."""
    return ", ".join(f"{name} ({_size(size)})" for name, size in parked.items())


def plan_as_json(plans: Sequence[StepPlan]) -> str:
    """Return a plan as JSON."""
    return json.dumps([_step(each) for each in plans], indent=2)


def _step(each: StepPlan) -> dict[str, Any]:
    revision = each.step.revision
    return {
        "revision": revision.id,
        "direction": each.step.direction,
        "title": revision.title,
        "phase": revision.phase,
        "locks": revision.locks,
        "lossless": revision.lossless,
        "tables": [{"name": table.name, "rows": table.rows, "bytes": table.bytes} for table in each.tables],
        "obstacles": list(each.obstacles),
        "sql": each.sql,
    }


def plan_in_words(plans: Sequence[StepPlan]) -> str:
    """Return a plan as text: per step its locks, tables, obstacles and SQL."""
    if not plans:
        return "Nothing to do."
    return "\n\n".join("\n".join(_plan_lines(each)) for each in plans)


def _plan_lines(each: StepPlan) -> Iterator[str]:
    revision = each.step.revision
    yield f"{'↑' if each.step.is_upgrade else '↓'} {revision.id}: {revision.title}"
    yield f"  phase   {revision.phase}, {'lossless' if revision.lossless else 'LOSES DATA'}"
    yield f"  locks   {revision.locks}"
    touched = (f"{table.name} ({table.rows} rows, {_size(table.bytes)})" for table in each.tables)
    yield f"  tables  {', '.join(touched) or 'none that exist'}"
    for obstacle in each.obstacles:
        yield f"  STOPS   {obstacle}"
    yield from (f"    {line}" for line in each.sql.splitlines())


def _size(bytes_: int) -> str:
    size, unit = float(bytes_), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"
