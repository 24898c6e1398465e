"""Accounts in bulk: one JSON object a line, in and out.

An import can be repeated, or go on after it was interrupted: accounts that are there stay as they are.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import BinaryIO
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
from service.domain.errors import ValidationFailed
from service.domain.events import AuditContext
from service.domain.users import Role, State, User
from service.services import Services, run_command
from service.usecases.users import Registration, import_users, prepare_user

_BATCH = 1000
_TELL_EVERY = 100_000
_MOST_COMPLAINTS = 20
_OPERATOR = AuditContext(OPERATOR)


class AccountLine(Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One account in a file. The times are written and not read: an account is as old as its import."""

    login_id: str
    name: str
    id: UUID | UnsetType = UNSET
    role: Role = Role.USER
    state: State = State.ACTIVE
    must_change: bool = False
    password_hash: str | UnsetType | None = UNSET
    created_at: str | UnsetType = UNSET
    updated_at: str | UnsetType = UNSET
    last_login_at: str | UnsetType | None = UNSET


@dataclass(slots=True)
class Tally:
    """How an import goes."""

    lines: int = 0
    added: int = 0
    present: int = 0
    refused: int = 0

    def print_error(self, reason: str) -> None:
        """Count a line as refused, and tell why, without repeating what it said."""
        self.refused += 1
        if self.refused <= _MOST_COMPLAINTS:
            print_status(f"Line {self.lines}: {reason}")
        elif self.refused == _MOST_COMPLAINTS + 1:
            print_status("More lines are refused; they are counted.")

    def __str__(self) -> str:
        return f"{self.added} added, {self.present} already there, {self.refused} refused"


@click.command("import")
@click.argument("file", type=click.File("rb"))
@json_option
def import_accounts(file: BinaryIO, is_json: bool) -> None:
    """Add the accounts of FILE, or of standard input for -.

    A line is {"login_id", "name"} and, as wanted, "password_hash" (argon2, bcrypt, scrypt, PBKDF2), "role",
    "state", "must_change", "id". Accounts that are there already stay as they are, so an import can be
    repeated. Lines that are refused are told by number; then the exit status is 1, and all others are in.
    """
    tally = run_command(lambda service: import_lines(service, file))
    if is_json:
        show_json({"added": tally.added, "present": tally.present, "refused": tally.refused})
    else:
        click.echo(f"{tally}.")
    if tally.refused:
        raise click.exceptions.Exit(1)


@click.command("export")
@click.option(
    "-o", "--output", type=click.File("wb"), default="-", help="A file; standard output if left out."
)
@click.option("--with-hashes", is_flag=True, help="Password hashes too: keep the result as you keep backups.")
def export_accounts(output: BinaryIO, with_hashes: bool) -> None:
    """Write every account, one JSON object a line, as `users import` reads them."""
    count = run_command(lambda service: export_lines(service, output, with_hashes))
    print_status(f"{count} accounts.")


async def import_lines(service: Services, file: BinaryIO) -> Tally:
    """Add the accounts of a file in batches, each of which is a transaction of its own."""
    tally = Tally()
    batch: list[NewUser] = []
    with _progress(file, tally) as advance:
        for line in file:
            tally.lines += 1
            advance(len(line))
            account = await _read(service, line, tally) if line.strip() else None
            if account is not None:
                batch.append(account)
            if len(batch) == _BATCH:
                await _add(service, batch, tally)
                batch = []
        await _add(service, batch, tally)
    return tally


async def _read(service: Services, line: bytes, tally: Tally) -> NewUser | None:
    try:
        read = msgspec.json.decode(line, type=AccountLine)
        wanted = Registration(
            read.login_id,
            read.name,
            password_hash=read.password_hash or None,
            role=read.role,
            state=read.state,
        )
        new = await prepare_user(wanted, hasher=service.hasher, context=_OPERATOR, policies=service.policies)
    except msgspec.ValidationError:
        tally.print_error("the object is not an account; see --help.")
    except (msgspec.DecodeError, UnicodeDecodeError):
        tally.print_error("this is not JSON.")
    except ValidationFailed as error:
        tally.print_error(" ".join(f"{fault.pointer[1:]}: {fault.detail}" for fault in error.faults))
    else:
        return replace(new, id=read.id or new.id, must_change=read.must_change)
    return None


async def _add(service: Services, batch: list[NewUser], tally: Tally) -> None:
    if batch:
        added = await service.uow().run(lambda tx: import_users(tx, batch, context=_OPERATOR))
        tally.added += added
        tally.present += len(batch) - added


async def export_lines(service: Services, output: BinaryIO, with_hashes: bool) -> int:
    """Write every account, and give their number."""
    count, after_id = 0, UUID(int=0)
    while found := await service.reads.users.list_credentials(after_id=after_id, limit=_BATCH):
        for user, password_hash in found:
            line = _line_of(user, password_hash if with_hashes else UNSET)
            output.write(msgspec.json.encode(line) + b"\n")
        count += len(found)
        after_id = found[-1][0].id
    return count


def _line_of(user: User, password_hash: str | UnsetType | None) -> AccountLine:
    return AccountLine(
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
    )


@contextmanager
def _progress(file: BinaryIO, tally: Tally) -> Iterator[Callable[[int], None]]:
    """Give what to call with the length of each line: a bar on a terminal, a word now and then elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield (
            lambda _: (
                print_status(f"{tally.lines} lines: {tally}") if tally.lines % _TELL_EVERY == 0 else None
            )
        )
        return
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("importing", total=_size_of(file))
        yield lambda length: bar.advance(task, length)


def _size_of(file: BinaryIO) -> int | None:
    """Give the size of a file; None for a pipe."""
    try:
        return os.fstat(file.fileno()).st_size or None
    except OSError:
        return None
