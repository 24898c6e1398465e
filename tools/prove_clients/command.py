"""The command that builds the clients and points them at a service."""

import secrets
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from harness.service_process import ROOT, service_process
from tools.generated_clients.workspace import StepFailed, Unavailable, Workspace
from tools.prove_clients.builds import PROGRAMS
from tools.prove_clients.clients import CLIENTS, Client
from tools.prove_clients.signing_keys import SigningKeys
from tools.prove_clients.target import (
    AUDIENCE,
    LOGIN,
    OK,
    OTHER_AUDIENCE,
    REFUSED,
    Accounts,
    Running,
    Target,
    verdict,
)
from tools.prove_clients.verifiers import VERIFIER_STEPS, VERIFIERS, verify

STEPS: Final = ("a live session", "an unknown token", "after logging out")
WORK: Final = ROOT / "var/prove-clients"
_UNKNOWN: Final = "rcs_" + "A" * 43
_WIDTH: Final = 130


@dataclass(frozen=True)
class Proof:
    """What a group of clients has to show, step by step. `run` yields `ok`, or what went wrong."""

    clients: Sequence[Client]
    steps: Sequence[str]
    run: Callable[[Running], Iterator[str]]


@dataclass(slots=True)
class Result:
    """What became of a client: for each step `ok` or what went wrong; or why it could not be run here."""

    client: Client
    steps: Sequence[str] = STEPS
    cells: list[str] = field(default_factory=list)
    failed: str = ""
    unavailable: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether every step succeeded, or nothing can be said of the client here."""
        return bool(self.unavailable) or (not self.failed and self.cells == [OK] * len(self.steps))


@click.command("prove-clients")
@click.option("--only", multiple=True, help="A part of the names of the clients to prove; may be repeated.")
def prove_clients(only: tuple[str, ...]) -> None:
    """Point stock clients, gateways and verifiers at a service of this checkout, and see whom they let in.

    What it downloads and builds is under var/prove-clients.
    """
    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH)
    with TemporaryDirectory() as directory:
        results = [[*group] for group in _prove(only, Path(directory), console)]
    for group in filter(None, results):
        console.print(_table(group))
    if not all(result.is_ok for group in results for result in group):
        raise click.exceptions.Exit(1)


def _prove(only: Sequence[str], directory: Path, console: Console) -> Iterator[list[Result]]:
    secrets_key = b64encode(secrets.token_bytes(32)).decode()
    with service_process(
        directory,
        ROLLCALL_PUBLIC_URL="{url}",
        ROLLCALL_TOKENS__AUDIENCES=f"{AUDIENCE},{OTHER_AUDIENCE}",
        ROLLCALL_SECRETS__KEY=secrets_key,
    ) as service:
        accounts, keys = Accounts(service), SigningKeys(service, directory / "postgres", secrets_key)
        target = Target(service.url, accounts.key)
        for proof in (
            Proof(CLIENTS, STEPS, partial(steps_of, accounts=accounts)),
            Proof(VERIFIERS, VERIFIER_STEPS, partial(verify, accounts=accounts, keys=keys)),
        ):
            yield [_prove_one(client, proof, target, console) for client in _chosen(proof.clients, only)]


def _chosen(clients: Sequence[Client], only: Sequence[str]) -> list[Client]:
    return [one for one in clients if not only or any(part.lower() in one.name.lower() for part in only)]


def _prove_one(client: Client, proof: Proof, target: Target, console: Console) -> Result:
    console.print(f"{client.name} …")
    result, workspace = Result(client, proof.steps), Workspace.empty(client.slug, WORK, PROGRAMS)
    try:
        with client.start(workspace, target) as running:
            result.cells += proof.run(running)
    except Unavailable as error:
        result.unavailable = str(error)
    except StepFailed as error:
        result.failed = str(error)
    finally:
        (workspace.directory / "build.log").write_text("\n".join(workspace.log))
    for told in {*result.cells, result.failed, result.unavailable} - {""}:
        console.print(f"  {told}", markup=False, highlight=False)
    return result


def steps_of(running: Running, accounts: Accounts) -> Iterator[str]:
    """Yield `ok` for each step, or what the client said. A client that can ends the session itself."""
    token = accounts.log_in()
    yield verdict(running.ask(token), LOGIN)
    yield verdict(running.ask(_UNKNOWN), REFUSED)
    if running.revoke is None:
        accounts.log_out(token)
    else:
        running.revoke(token)
    yield "the session is live" if accounts.is_live(token) else verdict(running.ask(token), REFUSED)


def _table(results: Sequence[Result]) -> Table:
    table = Table("client", "uses", *results[0].steps)
    for result in results:
        cells = [cell if cell == OK else "fails" for cell in result.cells]
        rest = "-" if result.unavailable else "fails"
        cells += [rest] * (len(result.steps) - len(cells))
        table.add_row(result.client.name, result.client.credentials, *cells)
    return table
