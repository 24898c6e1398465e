"""The commands `rehearse` and `prove`."""

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

import click

from service.cli.console import print_result, print_status
from service.cli.target import configured_target
from service.db.migrations.compatibility import HEAD_ID
from service.db.migrations.history import revision_map, state_at
from service.db.migrations.scratch import scratch_database
from service.embedded.server import EmbeddedPostgres
from tools.releases.checkout import ROOT, build, with_newest_schema, working_tree
from tools.releases.rehearsal import Options, rehearse
from tools.releases.schemas import choose_schemas

_DATABASE: Final = ROOT / "var" / "rehearsal-postgres"


@click.group()
def releases() -> None:
    """Run the previous release beside the working tree."""


@releases.command("rehearse")
@click.option("--previous", help="A commit. Default: the one in previous-release.txt.")
@click.option("--rows", default=100_000, type=click.IntRange(0), show_default=True, help="Users to add.")
@click.option("--requests", default=20_000, type=click.IntRange(1), show_default=True, help="Each way.")
@click.option("--minutes", default=60.0, show_default=True, help="At most.")
@click.option("--max-slowdown", default=3.0, show_default=True, help="Of p99, times quiet. 0: no limit.")
@click.option("--break-rule", is_flag=True, help="Add a contract step that lies: must fail.")
@click.option("--clients", default=8, type=click.IntRange(1), show_default=True, help="Users at once.")
@click.option("--processes", default=2, type=click.IntRange(1), show_default=True, help="Of each release.")
@click.option(
    "--drain-delay", default=2.0, show_default=True, help="Seconds in which a process that ends still serves."
)
@click.option("--freeze/--no-freeze", default=True, help="Freeze an old process over a contract step.")
@click.option("--here", is_flag=True, help="On the server of DATABASE_URL, not on one of its own.")
def rehearse_releases(previous: str | None, break_rule: bool, freeze: bool, here: bool, **sizes: Any) -> None:
    """Move schema and processes up and down under load; fail if a request fails or data is lost."""
    options, directory = Options(**sizes, freezes=freeze), Path(mkdtemp(prefix="rollcall-releases-"))
    with _server(is_configured=here) as dsn:
        is_clean = asyncio.run(_rehearse(dsn, directory, previous, options, is_broken=break_rule))
    if not is_clean:
        raise click.ClickException(f"The rehearsal was not clean; the logs are in {directory}.")
    shutil.rmtree(directory)


@releases.command("prove")
@click.option("--previous", help="A commit. Default: the one in previous-release.txt.")
@click.argument("tests", nargs=-1)
def prove(previous: str | None, tests: tuple[str, ...]) -> None:
    """Run the previous release's flow tests on the newest schema, which has to serve it or to break them."""
    old = build(previous, requirements="test")
    is_served = old.release.is_served_by(state_at(revision_map(), HEAD_ID))
    checkout = with_newest_schema(old, is_served=is_served)
    print_status(f"running the flow tests of {old.path.name} ({old.release}) on {HEAD_ID}")
    status = checkout.run("-m", "pytest", *(tests or ("tests/flows",)), "-q", "-p", "no:cacheprovider")
    if is_served and status:
        raise click.ClickException(f"{HEAD_ID} breaks the release that it states to serve.")
    if not is_served and not status:
        raise click.ClickException(f"{HEAD_ID} does not break the release that it no longer serves.")
    print_result("Shown: serves_from is right for the previous release.")


@contextmanager
def _server(*, is_configured: bool) -> Iterator[str]:
    """Yield the DSN of the server to rehearse on."""
    if is_configured:
        with configured_target() as target:
            yield target.dsn
    else:
        with EmbeddedPostgres(_DATABASE) as postgres:
            yield postgres.dsn


async def _rehearse(
    dsn: str, directory: Path, previous: str | None, options: Options, *, is_broken: bool
) -> bool:
    old, new = build(previous), working_tree()
    schemas = choose_schemas(old.release, new.release, directory, is_broken=is_broken)
    print_status(f"previous release {old.path.name} ({old.release}), this one ({new.release})")
    async with scratch_database(dsn) as scratch:
        report = await rehearse(scratch, directory, old, new, schemas, options)
    for line in report.lines():
        print_result(line)
    return report.is_clean
