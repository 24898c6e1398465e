"""A standby that streams from a primary."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.proxy import socket_directory_of
from service.embedded.binaries import binary, environment, server_command


class Standby:
    """A hot standby in a directory with a short path; `dsn` is the primary's database in it."""

    def __init__(self, primary_dsn: str, directory: Path) -> None:
        primary = socket_directory_of(primary_dsn)
        self.dsn = primary_dsn.replace(str(primary), str(directory))
        self._directory = directory
        self._server: subprocess.Popen[bytes] | None = None
        copy = [str(binary("pg_basebackup")), "-D", str(directory / "data"), "-R", "-c", "fast"]
        subprocess.run(
            [*copy, "-h", str(primary), "-U", "rollcall", "-p", "5432"], env=environment(), check=True
        )

    def start(self) -> None:
        """Start it; connections succeed some time later."""
        options = (f"unix_socket_directories={self._directory}", "listen_addresses=", "port=5432")
        chosen = [part for option in options for part in ("-c", option)]
        with (self._directory / "log").open("a") as log:
            self._server = subprocess.Popen(
                [*server_command("postgres"), "-D", str(self._directory / "data"), *chosen],
                env=environment(),
                stdout=log,
                stderr=log,
            )

    def stop(self, number: int = signal.SIGINT) -> None:
        """Stop it if it runs, and wait for its end."""
        if self._server is not None:
            self._server.send_signal(number)
            self._server.wait(120)
            self._server = None


@contextmanager
def standby_of(primary_dsn: str, directory: Path) -> Iterator[Standby]:
    """Run a standby of the server at a DSN in a new directory."""
    directory.mkdir(mode=0o700)
    standby = Standby(primary_dsn, directory)
    standby.start()
    try:
        yield standby
    finally:
        standby.stop()
