"""Import and export of users: one JSON object a line.

An import can be repeated, also after an interruption: users that exist are not changed.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, BinaryIO
from uuid import UUID

import click
import msgspec
from msgspec import UNSET, Struct, UnsetType
from rich.console import Console
from rich.progress import Progress

from service.api.schemas.common import timestamp, timestamp_or_none
from service.cli.console import print_status
from service.cli.output import json_option, show_json
from service.db.repositories.users import NewUser
from service.domain.callers import OPERATOR
from service.domain.details import DetailsPatch
from service.domain.errors import ValidationFailed
from service.domain.events import AuditContext
from service.domain.users import User, UserRole, UserState
from service.services import Services, run_command
from service.usecases.users import Registration, import_users, prepare_user

_BATCH = 1000
_PROGRESS_INTERVAL = 100_000
_MAX_ERRORS = 20
_OPERATOR = AuditContext(OPERATOR)


class UserLine(Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A user in a file. The times are exported and ignored by an import."""

    login_id: str
    name: str
    id: UUID | UnsetType = UNSET
    role: UserRole = UserRole.USER
    state: UserState = UserState.ACTIVE
    must_change: bool = False
    password_hash: str | UnsetType | None = UNSET
    created_at: str | UnsetType = UNSET
    updated_at: str | UnsetType = UNSET
    last_login_at: str | UnsetType | None = UNSET
    email: str | UnsetType | None = UNSET
    email_verified: bool = False
    locale: str | UnsetType | None = UNSET
    external_id: str | UnsetType | None = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET

    @property
    def details(self) -> DetailsPatch:
        """The details that the line names; whether the address is verified counts with an address only."""
        values = {name: getattr(self, name) for name in ("email", "locale", "external_id", "metadata")}
        given = {name: value for name, value in values.items() if value is not UNSET}
        if isinstance(self.email, str):
            given["email_verified"] = self.email_verified
        return DetailsPatch(frozenset(given), **given)


@dataclass(slots=True)
class ImportResult:
    """Counts of an import."""

    lines: int = 0
    added: int = 0
    present: int = 0
    rejected: int = 0

    def reject(self, reason: str) -> None:
        """Count the current line as rejected and print why, without its content."""
        self.rejected += 1
        if self.rejected <= _MAX_ERRORS:
            print_status(f"Line {self.lines}: {reason}")
        elif self.rejected == _MAX_ERRORS + 1:
            print_status("Further rejected lines are only counted.")

    def __str__(self) -> str:
        return f"{self.added} added, {self.present} existed, {self.rejected} rejected"


@click.command("import")
@click.argument("file", type=click.File("rb"))
@json_option
def import_command(file: BinaryIO, is_json: bool) -> None:
    """Import users from FILE, or from standard input for -.

    A line is {"login_id", "name"} and optionally "password_hash" (argon2, bcrypt, scrypt, PBKDF2), "role",
    "state", "must_change", "id", "email", "email_verified", "locale", "external_id", "metadata".

    Users that exist are not changed, so an import can be repeated. Rejected lines are reported by number;
    the others are imported and the exit status is 1.
    """
    result = run_command(lambda services: import_lines(services, file))
    if is_json:
        show_json({"added": result.added, "present": result.present, "rejected": result.rejected})
    else:
        click.echo(f"{result}.")
    if result.rejected:
        raise click.exceptions.Exit(1)


@click.command("export")
@click.option(
    "-o", "--output", type=click.File("wb"), default="-", help="Output file. Default: standard output."
)
@click.option("--with-hashes", is_flag=True, help="Include password hashes: protect the file like a backup.")
def export_command(output: BinaryIO, with_hashes: bool) -> None:
    """Export every user, one JSON object a line, as `users import` reads them."""
    count = run_command(lambda services: export_lines(services, output, with_hashes))
    print_status(f"{count} users.")


async def import_lines(services: Services, file: BinaryIO) -> ImportResult:
    """Import the users of a file in batches of one transaction each."""
    result = ImportResult()
    batch: list[NewUser] = []
    with _progress(file, result) as advance:
        for line in file:
            result.lines += 1
            advance(len(line))
            new = await _read(services, line, result) if line.strip() else None
            if new is not None:
                batch.append(new)
            if len(batch) == _BATCH:
                await _add(services, batch, result)
                batch = []
        await _add(services, batch, result)
    return result


async def _read(services: Services, line: bytes, result: ImportResult) -> NewUser | None:
    try:
        parsed = msgspec.json.decode(line, type=UserLine)
        registration = Registration(
            parsed.login_id,
            parsed.name,
            password_hash=parsed.password_hash or None,
            role=parsed.role,
            state=parsed.state,
            details=parsed.details,
        )
        new = await prepare_user(
            registration, hasher=services.hasher, context=_OPERATOR, policies=services.policies
        )
    except msgspec.ValidationError:
        result.reject("this is not a user; see --help.")
    except (msgspec.DecodeError, UnicodeDecodeError):
        result.reject("this is not JSON.")
    except ValidationFailed as error:
        result.reject(" ".join(f"{fault.pointer[1:]}: {fault.detail}" for fault in error.errors))
    else:
        return replace(new, id=parsed.id or new.id, must_change=parsed.must_change)
    return None


async def _add(services: Services, batch: list[NewUser], result: ImportResult) -> None:
    if batch:
        added = await services.database.run(lambda tx: import_users(tx, batch, context=_OPERATOR))
        result.added += added
        result.present += len(batch) - added


async def export_lines(services: Services, output: BinaryIO, with_hashes: bool) -> int:
    """Export every user; return their number."""
    count, after_id = 0, UUID(int=0)
    while page := await services.reads.users.list_credentials(after_id=after_id, limit=_BATCH):
        for user, password_hash in page:
            line = _line_of(user, password_hash if with_hashes else UNSET)
            output.write(msgspec.json.encode(line) + b"\n")
        count += len(page)
        after_id = page[-1][0].id
    return count


def _line_of(user: User, password_hash: str | UnsetType | None) -> UserLine:
    return UserLine(
        id=user.id,
        login_id=user.login_id,
        name=user.name,
        role=user.role,
        state=user.state,
        must_change=user.must_change,
        password_hash=password_hash,
        created_at=timestamp(user.created_at),
        updated_at=timestamp(user.updated_at),
        last_login_at=timestamp_or_none(user.last_login_at),
        email=user.email,
        email_verified=user.verified_email is not None,
        locale=user.locale,
        external_id=user.external_id,
        metadata=dict(user.metadata),
    )


@contextmanager
def _progress(file: BinaryIO, result: ImportResult) -> Iterator[Callable[[int], None]]:
    """Yield a function that takes the length of each line and shows the progress: as a bar on a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _length: _print_progress(result)
        return
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("importing", total=_size_of(file))
        yield lambda length: bar.advance(task, length)


def _print_progress(result: ImportResult) -> None:
    if result.lines % _PROGRESS_INTERVAL == 0:
        print_status(f"{result.lines} lines: {result}")


def _size_of(file: BinaryIO) -> int | None:
    """Return the size of a file, None for a pipe."""
    try:
        return os.fstat(file.fileno()).st_size or None
    except OSError:
        return None
