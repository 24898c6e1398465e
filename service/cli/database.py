"""`database`: show and migrate the schema while the service runs."""

import asyncio
import json
from io import StringIO

import click
from alembic import command
from alembic.util import CommandError

from service.cli import schema_report
from service.cli.console import print_result, print_status
from service.cli.target import MigrationTarget, configured_target
from service.db.migrations import running
from service.db.migrations.compatibility import HEAD, read_schema_state
from service.db.migrations.history import (
    Step,
    alembic_config,
    destination,
    list_revisions,
    steps_between,
)
from service.db.migrations.scratch import scratch_database


@click.group()
def database() -> None:
    """Show and change the schema."""


@database.command()
@click.option("--to", "target", default="head", help="A revision, or the start of one. Default: the newest.")
@click.option("--force", is_flag=True, help="Apply steps that leave live processes unserved.")
def migrate(target: str, force: bool) -> None:
    """Migrate the schema up; restore what a rollback parked."""
    with configured_target() as migration:
        asyncio.run(migration.with_connection(running.require_suitable))
        asyncio.run(running.drop_unfinished(migration.dsn, migration.lock_retry, print_status))
        _move(migration, target, upward=True, force=force)
        _grant_rights(migration)


@database.command()
@click.option("--to", "target", default="-1", help="A revision or its start, or base. Default: one step.")
@click.option("--force", is_flag=True, help="Apply steps that leave live processes unserved.")
def rollback(target: str, force: bool) -> None:
    """Roll the schema back; park what is dropped, with its rows."""
    with configured_target() as migration:
        _move(migration, target, upward=False, force=force)


@database.command()
@click.option("--json", "is_json", is_flag=True, help="For machines.")
def status(is_json: bool) -> None:
    """Show the revision, what is parked, and the live processes."""
    with configured_target() as migration:
        found = asyncio.run(migration.with_engine(schema_report.read_status))
        print_result(json.dumps(found, indent=2) if is_json else schema_report.status_in_words(found))


@database.command()
@click.option("--to", "target", default="head", help="A revision, the start of one, head, base, +1 or -1.")
@click.option("--json", "is_json", is_flag=True, help="For machines.")
def plan(target: str, is_json: bool) -> None:
    """Show what a change would do: SQL, locks, sizes, and the data and processes that would stop it."""
    with configured_target() as migration:
        steps = _steps(asyncio.run(migration.with_engine(read_schema_state)).revision, target)
        plans = asyncio.run(migration.with_engine(lambda engine: schema_report.read_plan(engine, steps)))
        print_result(schema_report.plan_as_json(plans) if is_json else schema_report.plan_in_words(plans))


@database.command("purge-parked")
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge_parked(yes: bool) -> None:
    """Delete what rollbacks parked."""
    with configured_target() as migration:
        parked = asyncio.run(migration.with_engine(schema_report.read_parked))
        if not parked:
            print_result("Nothing to do: nothing is parked.")
            return
        print_status(schema_report.parked_in_words(parked))
        if not yes and not _is_confirmed():
            raise click.ClickException("Nothing was removed: that takes a yes, or --yes.")
        asyncio.run(running.purge(migration.dsn, migration.lock_retry, print_status))
        print_result(f"Removed {len(parked)} parked tables and columns.")


@database.command()
@click.option("-m", "--message", required=True, help="What it does, in a few words.")
def revision(message: str) -> None:
    """Draft a revision from the difference between the declared tables and the schema."""
    if not message.strip():
        raise click.UsageError("Say what the revision does, in a few words: -m (make revision m=…).")
    with configured_target() as migration:
        config = alembic_config(dsn=migration.dsn, lock_retry=migration.lock_retry, report=print_status)
        config.stdout = StringIO()
        drafted = command.revision(config, message, autogenerate=True)
        paths = [script.path for script in (drafted if isinstance(drafted, list) else [drafted]) if script]
        print_result("\n".join(map(str, paths)))


@database.command()
def check() -> None:
    """Check that there is one head, and that migrating produces the declared schema."""
    with configured_target() as migration:
        revisions = list_revisions()
        if [each.number for each in revisions] != list(range(1, HEAD + 1)):
            raise click.ClickException(
                f"The revisions are not numbered 1 to {HEAD}, as compatibility.HEAD says."
            )
        asyncio.run(_check_drift(migration))
        print_result(f"In step: {len(revisions)} revisions in one line make the declared schema.")


def _is_confirmed() -> bool:
    try:
        return click.confirm("Remove all of it, for good?", err=True)
    except click.Abort:
        return False  # no terminal


async def _check_drift(migration: MigrationTarget) -> None:
    async with scratch_database(migration.dsn) as dsn:
        await running.upgrade(dsn)
        config = alembic_config(dsn=dsn, lock_retry=migration.lock_retry, report=print_status)
        config.stdout = StringIO()
        await asyncio.to_thread(command.check, config)


def _move(migration: MigrationTarget, target: str, *, upward: bool, force: bool) -> None:
    current = asyncio.run(migration.with_engine(read_schema_state)).revision
    steps = _steps(current, target)
    if not steps or steps[0].is_upgrade != upward:
        print_result(_nothing_to_do(current, upward=upward, is_beyond=bool(steps)))
        return
    end = destination(steps)
    with schema_report.progress() as report:
        running.migrate(
            migration.dsn,
            end,
            upward=upward,
            lock_retry=migration.lock_retry,
            report=report,
            service_name=migration.settings.service_name,
            force=force,
        )
    print_result(f"The schema is at {end}.")


def _grant_rights(migration: MigrationTarget) -> None:
    """Grant the role that serves its rights, if the settings name it."""
    if role := migration.settings.migrations.serving_role:
        asyncio.run(running.grant_rights(migration.dsn, role, migration.lock_retry, print_status))
        print_status(f"{role} has the rights that serving needs.")


def _steps(current: str | None, target: str) -> list[Step]:
    try:
        steps_between(current, "base")
    except CommandError as error:
        raise click.ClickException(
            f"The schema is at {current}, which this release does not know: "
            "move it with the release that brought it there."
        ) from error
    try:
        return steps_between(current, target)
    except CommandError as error:
        raise click.UsageError(f"There is no revision {target}.") from error


def _nothing_to_do(current: str | None, *, upward: bool, is_beyond: bool) -> str:
    where = f"Nothing to do: the schema is at {current or 'base'}"
    if not is_beyond:
        return f"{where}."
    return f"{where}, past that revision; rollback goes down." if upward else f"{where}; migrate goes up."
