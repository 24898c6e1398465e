"""Create the cluster of the embedded PostgreSQL."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import IO, Final

from service.embedded.binaries import run, server_command

ROLE: Final = "rollcall"
DATABASE: Final = "rollcall"


def create_cluster(data: Path, lock: IO[bytes], *, durable: bool) -> None:
    """Create a cluster with the database of the service as `data`.

    It is built under another name and renamed, so that an interrupted creation never looks complete. The
    programs that build it hold `lock` as well: if this process is killed, they go on writing for a while.

    Raises: EmbeddedUnavailable.
    """
    for unfinished in data.parent.glob("data.*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    building = Path(tempfile.mkdtemp(prefix="data.", dir=data.parent))
    try:
        run(_initdb_command(building, durable=durable), lock)
        run(
            [*server_command("postgres"), "--single", "-D", str(building), "template1"],
            lock,
            stdin=f"CREATE DATABASE {DATABASE}\n",
        )
        building.rename(data)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    # A power failure may undo a rename that was not flushed, and the next start would delete the cluster.
    _flush_directory(data.parent)
    _flush_directory(data.parent.parent)


def _initdb_command(building: Path, *, durable: bool) -> list[str]:
    return [
        *server_command("initdb"),
        f"--pgdata={building}",
        f"--username={ROLE}",
        "--auth-local=trust",  # the socket's directory admits its owner alone
        "--auth-host=reject",
        "--encoding=UTF8",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--no-instructions",
        *([] if durable else ["--no-sync"]),
    ]


def _flush_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
