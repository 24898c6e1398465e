"""Import and export of users: one JSON object a line.

An import can be repeated, also after an interruption: users that exist are not changed.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO
from uuid import UUID

import click
import msgspec
from msgspec import UNSET, UnsetType
from rich.console import Console
from rich.progress import Progress

from service.cli.console import print_status
from service.cli.files import private_output
from service.cli.import_lines import UserLine, login_id_in, numbered_lines, parse_line, time_of
from service.cli.import_report import ImportResult, open_report
from service.cli.operator import AS_OPERATOR
from service.cli.output import json_option, show
from service.db.repositories.users import ImportedUser
from service.domain.callers import OPERATOR
from service.domain.errors import FieldError, ValidationFailed
from service.domain.users import User
from service.services import Services, run_command
from service.usecases.imports import ImportLine, import_batch
from service.usecases.users import prepare_user, record_export

_BATCH = 1000
_PROGRESS_INTERVAL = 100_000
_KEPT = [name for name in UserLine.__struct_fields__ if name in User._fields]
"""The fields that a line has of its user."""


@click.command("import")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--report",
    "report_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write each error to this file as a line of JSON: line, login_id, field, code, message.",
)
@json_option
def import_command(file: BinaryIO, report_path: Path | None, is_json: bool) -> None:
    """Import users from FILE, or from standard input for -.

    A line is {"login_id"} and optionally "name" (default: the login id), "password_hash" (argon2, bcrypt,
    scrypt, PBKDF2), "role", "state", "must_change", "id", "created_at", "last_login_at", "email",
    "email_verified", "locale", "external_id", "metadata". Users that exist are not changed, so an import can
    be repeated. A line is rejected if it breaks a rule, if its id, login id, verified address or external id
    belongs to another user, or if its login id stands in the file before; the other lines are imported.

    Exit status: 0 if every user was added or existed, 1 if a line was rejected.
    """
    with open_report(report_path, file) as report:
        result = ImportResult(report)
        run_command(lambda services: import_lines(services, file, result))
    counts = {"added": result.added, "present": result.present, "rejected": result.rejected}
    show(counts, f"{result}.", is_json=is_json)
    if result.rejected:
        raise click.exceptions.Exit(1)


@click.command("export")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    default="-",
    help="Output file, which its owner alone may read. Default: standard output.",
)
@click.option("--with-hashes", is_flag=True, help="Include password hashes: protect the file like a backup.")
def export_command(output: Path, with_hashes: bool) -> None:
    """Export every user, one JSON object a line, as `users import` reads them.

    A file that exists is replaced once every user is written.
    """
    with private_output(output) as file:
        count = run_command(lambda services: export_lines(services, file, with_hashes))
    print_status(f"{count} users.")


async def import_lines(
    services: Services, file: BinaryIO, result: ImportResult | None = None
) -> ImportResult:
    """Import the users of a file in batches of one transaction each; return the counts.

    Raises:
        click.ClickException: the file is in another encoding than UTF-8.
    """
    result = result or ImportResult()
    batch: list[ImportLine] = []
    first_lines: dict[str, int] = {}
    with _progress(file, result) as advance:
        for number, line in numbered_lines(file):
            advance(number, len(line))
            if not line.strip():
                continue
            try:
                batch.append(_unrepeated(await _prepare(services, number, line), first_lines))
            except ValidationFailed as error:
                result.reject(number, error.errors, login_id_in(line))
            if len(batch) == _BATCH:
                await _import(services, batch, result)
                batch = []
        await _import(services, batch, result)
    return result


async def _prepare(services: Services, number: int, line: bytes) -> ImportLine:
    """Check a line. Raises ValidationFailed."""
    parsed = parse_line(line)
    created_at = time_of(parsed.created_at, "created_at")
    last_login_at = time_of(parsed.last_login_at, "last_login_at")
    new = await prepare_user(
        parsed.registration, hasher=services.hasher, context=AS_OPERATOR, policies=services.policies
    )
    user = new._replace(id=parsed.id or new.id, must_change=parsed.must_change)
    return ImportLine(number, ImportedUser(user, created_at, last_login_at), parsed.id is not UNSET)


def _unrepeated(line: ImportLine, first_lines: dict[str, int]) -> ImportLine:
    """Return the line, if its login id has not been in the file before. Raises ValidationFailed."""
    first = first_lines.setdefault(line.imported.user.login_id, line.number)
    if first != line.number:
        detail = f"Lines {first} and {line.number} have the same login id."
        raise ValidationFailed(FieldError("/login_id", "duplicate_login_id", detail))
    return line


async def _import(services: Services, batch: list[ImportLine], result: ImportResult) -> None:
    if not batch:
        return
    done = await services.database.run(
        lambda tx: import_batch(tx, batch, context=AS_OPERATOR), caller=OPERATOR
    )
    result.added += done.added
    result.present += done.present
    for line, errors in done.rejected:
        result.reject(line.number, errors, line.imported.user.login_id)


async def export_lines(services: Services, output: IO[bytes], with_hashes: bool) -> int:
    """Export every user; return their number. The audit trail has it before anything is written.

    Raises:
        click.ClickException: the output cannot be written.
    """
    await services.database.run(lambda tx: record_export(tx, context=AS_OPERATOR), caller=OPERATOR)
    count, after_id = 0, UUID(int=0)
    while page := await services.reads.users.list_credentials(after_id=after_id, limit=_BATCH):
        lines = (_line_of(user, password_hash if with_hashes else UNSET) for user, password_hash in page)
        _write(output, lines)
        count += len(page)
        after_id = page[-1][0].id
    return count


def _write(output: IO[bytes], lines: Iterable[UserLine]) -> None:
    try:
        output.write(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        output.flush()
    except OSError as error:  # a closed pipe is no failure of the database
        raise click.ClickException(f"The output cannot be written: {error.strerror}.") from None


def _line_of(user: User, password_hash: str | UnsetType | None) -> UserLine:
    kept = {name: getattr(user, name) for name in _KEPT}
    return UserLine(password_hash=password_hash, email_verified=user.verified_email is not None, **kept)


@contextmanager
def _progress(file: BinaryIO, result: ImportResult) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that takes number and length of each line and shows the progress.

    On a terminal it is a bar.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda number, _length: _print_progress(number, result)
        return
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("importing", total=os.fstat(file.fileno()).st_size or None)  # a pipe has none
        yield lambda _number, length: bar.advance(task, length)


def _print_progress(number: int, result: ImportResult) -> None:
    if number % _PROGRESS_INTERVAL == 0:
        print_status(f"{number} lines: {result}")
