"""Render the state of the schema and plans to change it, as text and as JSON."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.filesize import pick_unit_and_suffix
from sqlalchemy.ext.asyncio import AsyncEngine

from service.cli.console import print_status
from service.db import instances
from service.db.migrations import parking
from service.db.migrations.compatibility import THIS_RELEASE, SchemaState, SchemaStatus, read_schema_state
from service.db.migrations.history import Step, list_revisions, steps_between
from service.db.migrations.plan import StepPlan, make_plan
from service.db.release_guard import unserved

_UNITS = ["B", "KiB", "MiB", "GiB", "TiB"]


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
    schema, revisions = await read_schema_state(engine), [each.id for each in list_revisions()]
    is_known = schema.revision is None or schema.revision in revisions
    live = await instances.list_live(engine)
    return {
        "revision": schema.revision,
        "serves_from": schema.serves_from,
        "head": revisions[-1],
        "needs": revisions[THIS_RELEASE.needs - 1],
        "status": THIS_RELEASE.classify(schema),
        "pending": [step.revision.id for step in steps_between(schema.revision, "head")] if is_known else [],
        "parked": [{"name": name, "bytes": size} for name, size in (await read_parked(engine)).items()],
        "instances": None if live is None else [_instance(each, schema) for each in live],
    }


def _instance(each: instances.Instance, schema: SchemaState) -> dict[str, Any]:
    return {
        "id": str(each.id),
        "host": each.host,
        "pid": each.pid,
        "release": each.version,
        "head": each.release.head,
        "needs": each.release.needs,
        "status": each.release.classify(schema),
    }


def status_in_words(found: dict[str, Any]) -> str:
    """Return the status as text."""
    parked = {each["name"]: each["bytes"] for each in found["parked"]}
    lines = (
        f"schema     {found['revision'] or 'base (no revision)'}",
        f"head       {found['head']}",
        f"serves     releases from {found['serves_from'] or 'one revision back'}",
        f"release    needs {found['needs']}: {_STATUSES[found['status']]}",
        f"pending    {', '.join(found['pending']) or 'nothing'}",
        f"parked     {parked_in_words(parked) or 'nothing'}",
        f"processes  {_processes(found['instances'])}",
    )
    return "\n".join(lines)


_STATUSES = {
    SchemaStatus.SERVED: "served",
    SchemaStatus.BEHIND: "the schema is too old for it; migrate",
    SchemaStatus.AHEAD: "the schema no longer serves it; deploy a newer release",
    SchemaStatus.UNMIGRATED: "the database is empty; migrate",
    SchemaStatus.UNKNOWN: "the revision is not ours",
}


def _processes(live: list[dict[str, Any]] | None) -> str:
    if live is None:
        return "unknown: this revision has no heartbeats"
    return "; ".join(map(_process, live)) or "none"


def _process(each: dict[str, Any]) -> str:
    is_served = each["status"] == SchemaStatus.SERVED
    return f"{each['host']} process {each['pid']} ({each['release']}{'' if is_served else ', NOT SERVED'})"


def parked_in_words(parked: dict[str, int]) -> str:
    """Return what is parked as text."""
    return ", ".join(f"{name} ({_size(size)})" for name, size in parked.items())


async def read_plan(engine: AsyncEngine, steps: Sequence[Step]) -> list[StepPlan]:
    """Return what each step would do; a live process that it would leave unserved is an obstacle."""
    live, plans = await instances.list_live(engine) or [], []
    for each in await make_plan(engine, steps):
        left = (f"it would no longer serve {instance}" for instance in unserved(live, each.schema))
        plans.append(replace(each, obstacles=(*each.obstacles, *left)))
    return plans


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
        "serves_from": each.schema.serves_from,
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
    yield f"  serves  releases from {each.schema.serves_from or 'one revision back'}"
    yield f"  locks   {revision.locks}"
    touched = (f"{table.name} ({table.rows} rows, {_size(table.bytes)})" for table in each.tables)
    yield f"  tables  {', '.join(touched) or 'none that exist'}"
    for obstacle in each.obstacles:
        yield f"  STOPS   {obstacle}"
    yield from (f"    {line}" for line in each.sql.splitlines())


def _size(bytes_: int) -> str:
    unit, suffix = pick_unit_and_suffix(bytes_, _UNITS, 1024)
    return f"{bytes_ / unit:.{0 if unit == 1 else 1}f} {suffix}"
