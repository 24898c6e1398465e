"""Files that a command writes."""

import os
import stat
from typing import IO, Any

import click


class PrivateFile(click.File):
    """A file to write that only its owner may read, also if it exists already; `-` is standard output."""

    def __init__(self) -> None:
        super().__init__("wb", lazy=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> IO[Any]:
        """Open the file, and have it closed with the command."""
        if value == "-":
            return super().convert(value, param, ctx)
        try:
            file = os.fdopen(os.open(value, os.O_WRONLY | os.O_CREAT, 0o600), "wb")
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # no pipe, no device
                os.fchmod(file.fileno(), 0o600)
                file.truncate()
        except OSError as error:
            self.fail(f"{value!r}: {error.strerror}", param, ctx)
        if ctx is not None:
            ctx.call_on_close(file.close)
        return file
