"""Files that a command writes."""

import errno
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Final

import click

_PRIVATE: Final = 0o600


@contextmanager
def private_output(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that only its owner may read, or standard output for `-`, as long as the block runs.

    An earlier file of that name is replaced when the block has succeeded, and else stays as it was. A pipe or
    a device is written to as it is.

    Raises: click.UsageError if it cannot be opened.
    """
    if str(path) == "-":
        yield sys.stdout.buffer
        return
    target = path.resolve()
    is_special = path.exists() and not path.is_file()
    try:
        file = path.open("wb") if is_special else _private_file_beside(target)
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}.") from None
    with nullcontext() if is_special else _renamed(Path(file.name), target), file:
        yield file


def _private_file_beside(target: Path) -> IO[bytes]:
    return NamedTemporaryFile("wb", dir=target.parent, prefix=f".{target.name}.", delete=False)


@contextmanager
def _renamed(file: Path, target: Path) -> Iterator[None]:
    """Rename a file after the block; remove it if the block fails."""
    try:
        yield
        _replace(file, target)
    except BaseException:  # also an interruption: nothing may lie about that holds hashes
        file.unlink(missing_ok=True)
        raise


def _replace(file: Path, target: Path) -> None:
    try:
        file.replace(target)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        target.chmod(_PRIVATE)  # a container has it mounted alone
        shutil.copyfile(file, target)
        file.unlink()
