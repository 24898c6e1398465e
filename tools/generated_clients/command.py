"""The command that generates, builds and uses the clients."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from harness.service_process import ServiceProcess, service_process
from tools.generated_clients.kits import KITS, ClientKit
from tools.generated_clients.newer_service import newer_service
from tools.generated_clients.workspace import StepFailed, Unavailable, Workspace, run_program

STEPS: Final = (
    "log in",
    "create a user",
    "list users",
    "list events",
    "introspect",
    "change a password",
    "log out",
)
"""What every program does, in this order, with a line of its output for each: `step: ok` or what failed."""
_WIDTH: Final = 130
_OK: Final = "ok"


@dataclass(slots=True)
class Result:
    """What became of a client. A cell is `ok` or what failed; `unavailable` says which tool is missing."""

    kit: ClientKit
    built: str = ""
    used: list[str] = field(default_factory=list)
    unavailable: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether the client works, or nothing can be said of it here."""
        return bool(self.unavailable) or (self.built == _OK and set(self.used) == {_OK})

    @property
    def summary(self) -> str:
        """Return `ok`, `fails`, or why nothing was proved."""
        if self.unavailable:
            return f"not proved: {self.unavailable}"
        return _OK if self.is_ok else "fails"


@click.command("generated-clients")
@click.option("--only", multiple=True, help="A part of the names of the clients to prove; may be repeated.")
def generated_clients(only: tuple[str, ...]) -> None:
    """Generate clients in seven languages, compile them, and use them against this service and a newer one.

    Runs its own service on this machine. What it downloads and generates is under var/generated-clients.
    """
    kits = [kit for kit in KITS if not only or any(part.lower() in kit.name.lower() for part in only)]
    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH)
    with TemporaryDirectory() as directory:
        results = list(_prove(kits, Path(directory), console))
    console.print(_table(results))
    for result in results:
        for cell in {result.built, result.unavailable, *result.used} - {_OK, ""}:
            console.print(f"{result.kit.name}: {cell}", markup=False, highlight=False)
    if not all(result.is_ok for result in results):
        raise click.exceptions.Exit(1)


def _prove(kits: Sequence[ClientKit], directory: Path, console: Console) -> Iterator[Result]:
    with ExitStack() as stack:
        service = stack.enter_context(service_process(directory))
        newer_url = stack.enter_context(newer_service(service.url))
        credentials = _credentials(service)
        for kit in kits:
            result = _prove_one(kit, (service.url, newer_url), credentials)
            console.print(f"{kit.name} … {result.summary}", markup=False, highlight=False)
            yield result


def _prove_one(kit: ClientKit, urls: tuple[str, str], credentials: dict[str, str]) -> Result:
    result, workspace = Result(kit), Workspace.empty(kit.slug)
    try:
        command = kit.build(workspace)
    except Unavailable as error:
        result.unavailable = str(error)
        return result
    except StepFailed as error:
        result.built = str(error)
        return result
    finally:
        (workspace.directory / "build.log").write_text("\n".join(workspace.log))
    result.built = _OK if command else "compiled"
    result.unavailable = "" if command else kit.missing
    for number, url in enumerate(urls if command else ()):
        new = f"{kit.slug}-{number}"
        done = run_program(command, ROLLCALL_URL=url, ROLLCALL_NEW=new, **credentials)
        result.used.append(verdict(done.stdout.splitlines(), done.stderr))
    return result


def verdict(lines: list[str], errors: str) -> str:
    """Return `ok` if every step succeeded, else what failed."""
    told = dict(line.split(": ", 1) for line in lines if ": " in line)
    failed = [f"{step}: {told.get(step, 'not reached')}" for step in STEPS if told.get(step) != _OK]
    return "; ".join(failed) + (f"\n{errors[-1000:]}" if errors else "") if failed else _OK


def _credentials(service: ServiceProcess) -> dict[str, str]:
    """Return the environment of the programs: the administrator's password, and a key that introspects."""
    password = service.first_password() or ""
    opened = service.request("POST", "/v1/sessions", json={"login_id": "root", "password": password}).json()
    key = {"name": "gateway", "scopes": ["sessions:introspect"]}
    made = service.request("POST", "/v1/keys", opened["token"], key).json()
    return {"ROLLCALL_PASSWORD": password, "ROLLCALL_KEY": made["key"]}


def _table(results: Sequence[Result]) -> Table:
    table = Table("client", "compiles", "works", "works with a newer service")
    for result in results:
        used = ["ok" if cell == _OK else "fails" for cell in result.used]
        built = "ok" if result.built == _OK else "fails"
        if result.unavailable:
            built = "not compiled" if not result.built else "compiled, not used"
        table.add_row(result.kit.name, built, *(used or ["-", "-"]))
    return table
