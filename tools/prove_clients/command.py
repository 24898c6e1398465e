"""The command that builds the clients and points them at a service."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from harness.service_process import ROOT, service_process
from tools.generated_clients.workspace import StepFailed, Unavailable, Workspace
from tools.prove_clients.clients import CLIENTS, PROGRAMS, Client
from tools.prove_clients.target import LOGIN, REFUSED, Accounts, Running, Target

STEPS: Final = ("a live session", "an unknown token", "after logging out")
WORK: Final = ROOT / "var/prove-clients"
_UNKNOWN: Final = "rcs_" + "A" * 43
_WIDTH: Final = 130
_OK: Final = "ok"


@dataclass(slots=True)
class Result:
    """What became of a client: for each step `ok` or what went wrong; or why it could not be run here."""

    client: Client
    cells: list[str] = field(default_factory=list)
    failed: str = ""
    unavailable: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether every step succeeded, or nothing can be said of the client here."""
        return bool(self.unavailable) or (not self.failed and self.cells == [_OK] * len(STEPS))


@click.command("prove-clients")
@click.option("--only", multiple=True, help="A part of the names of the clients to prove; may be repeated.")
def prove_clients(only: tuple[str, ...]) -> None:
    """Point stock clients and gateways at a service of this checkout, and see whom they let in.

    What it downloads and builds is under var/prove-clients.
    """
    chosen = [one for one in CLIENTS if not only or any(part.lower() in one.name.lower() for part in only)]
    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH)
    with TemporaryDirectory() as directory:
        results = list(_prove(chosen, Path(directory), console))
    console.print(_table(results))
    if not all(result.is_ok for result in results):
        raise click.exceptions.Exit(1)


def _prove(clients: Sequence[Client], directory: Path, console: Console) -> Iterator[Result]:
    with service_process(directory, ROLLCALL_PUBLIC_URL="{url}") as service:
        accounts = Accounts(service)
        target = Target(service.url, accounts.key)
        for client in clients:
            console.print(f"{client.name} …")
            result = _prove_one(client, target, accounts)
            for told in {*result.cells, result.failed, result.unavailable} - {""}:
                console.print(f"  {told}", markup=False, highlight=False)
            yield result


def _prove_one(client: Client, target: Target, accounts: Accounts) -> Result:
    result, workspace = Result(client), Workspace.empty(client.slug, WORK, PROGRAMS)
    try:
        with client.start(workspace, target) as running:
            result.cells += steps_of(running, accounts)
    except Unavailable as error:
        result.unavailable = str(error)
    except StepFailed as error:
        result.failed = str(error)
    finally:
        (workspace.directory / "build.log").write_text("\n".join(workspace.log))
    return result


def steps_of(running: Running, accounts: Accounts) -> Iterator[str]:
    """Yield `ok` for each step, or what the client said. A client that can ends the session itself."""
    token = accounts.log_in()
    yield _verdict(running.ask(token), LOGIN)
    yield _verdict(running.ask(_UNKNOWN), REFUSED)
    if running.revoke is None:
        accounts.log_out(token)
    else:
        running.revoke(token)
    yield "the session is live" if accounts.is_live(token) else _verdict(running.ask(token), REFUSED)


def _verdict(told: str, wanted: str) -> str:
    return _OK if told == wanted else f"{told!r}, not {wanted!r}"


def _table(results: Sequence[Result]) -> Table:
    table = Table("client", "authenticates by", *STEPS)
    for result in results:
        cells = [cell if cell == _OK else "fails" for cell in result.cells]
        rest = "-" if result.unavailable else "fails"
        cells += [rest] * (len(STEPS) - len(cells))
        table.add_row(result.client.name, result.client.credentials, *cells)
    return table
