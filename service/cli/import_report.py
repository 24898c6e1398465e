"""What an import reports: counts, the first errors on the terminal, and all of them in a file."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from service.cli.console import print_status
from service.domain.errors import FieldError

_MAX_SHOWN = 20


@dataclass(slots=True)
class ImportResult:
    """Counts of an import: each line that is not blank is in one of the three. Reports what is rejected."""

    report: BinaryIO | None = None
    added: int = 0
    present: int = 0
    rejected: int = 0
    shown: int = 0

    def reject(self, line: int, errors: Iterable[FieldError], login_id: str | None = None) -> None:
        """Count a line as rejected, and report its errors: on the terminal without what the line says."""
        self.rejected += 1
        for error in errors:
            self._show(line, error)
            if self.report is not None:
                named = {"line": line} if login_id is None else {"line": line, "login_id": login_id}
                found = {**named, "field": error.pointer, "code": error.code, "message": error.detail}
                self.report.write(msgspec.json.encode(found) + b"\n")

    def _show(self, line: int, error: FieldError) -> None:
        self.shown += 1
        if self.shown <= _MAX_SHOWN:
            place = f" {error.pointer}" if error.pointer else ""
            print_status(f"Line {line}:{place} {error.code}: {error.detail}")
        elif self.shown == _MAX_SHOWN + 1:
            where = "are in the report" if self.report else "are not shown; --report FILE writes all of them"
            print_status(f"Further errors {where}.")

    def __str__(self) -> str:
        return f"{self.added} added, {self.present} existed, {self.rejected} rejected"


@contextmanager
def open_report(path: Path | None, imported: BinaryIO) -> Iterator[BinaryIO | None]:
    """Open a report that only its owner may read, since it names login ids; yield None without a path.

    Raises:
        click.ClickException: the file cannot be written, or is the one that is imported.
    """
    if path is None:
        yield None
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    except OSError as error:
        raise click.ClickException(f"The report cannot be written: {error.strerror}.") from None
    with os.fdopen(descriptor, "wb") as report:
        if os.path.sameopenfile(descriptor, imported.fileno()):
            raise click.ClickException("The report would overwrite the file that is imported.")
        os.fchmod(descriptor, 0o600)
        report.truncate()
        yield report
