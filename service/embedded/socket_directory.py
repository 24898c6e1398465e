"""The private directory in which the embedded PostgreSQL listens.

The path of a unix socket is short on every system, so the directory is a temporary one, and a link next to
the cluster leads to it.
"""

import os
import secrets
import shutil
import socket
import stat
import tempfile
from pathlib import Path
from typing import Final

PORT: Final = 5432
_SOCKET_NAME: Final = f".s.PGSQL.{PORT}"
_SOCKET_PATH_BYTES: Final = 100
"""Length of a socket's path that every system supports (Linux 107, macOS 103)."""


class SocketDirectory:
    """A directory that only its owner may enter, found through the symbolic link `link`."""

    def __init__(self, link: Path) -> None:
        self._link = link

    @property
    def path(self) -> Path:
        """The directory itself.

        Raises: FileNotFoundError before the first `prepare` and after `remove`.
        """
        return self._link.readlink()

    def prepare(self) -> Path:
        """Return the emptied directory: the last one if it still exists, so that open pools can reconnect."""
        if not self.is_private():
            self._link.unlink(missing_ok=True)
            # The link first: after a kill between the two, the next run knows the directory.
            self._link.symlink_to(_temporary_directory() / f"rollcall-{secrets.token_hex(8)}")
            self.path.mkdir(mode=0o700)
        for leftover in self.path.iterdir():
            leftover.unlink()
        return self.path

    def remove(self) -> None:
        """Remove the directory and the link."""
        if self.is_private():
            shutil.rmtree(self.path)
        self._link.unlink(missing_ok=True)

    def is_private(self) -> bool:
        """Return whether it exists and is ours: once ours was swept away, anybody may create another."""
        try:
            found = self.path.lstat()
        except FileNotFoundError:
            return False
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077

    def accepts_connections(self) -> bool:
        """Return whether a server listens in the directory."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            return probe.connect_ex(str(self.path / _SOCKET_NAME)) == 0


def _temporary_directory() -> Path:
    """Return the system's temporary directory, or /tmp if a socket there had too long or special a path."""
    directory = tempfile.gettempdir()
    size = len(os.fsencode(directory)) + len(f"/rollcall-0123456789abcdef/{_SOCKET_NAME}")
    is_plain = directory.isascii() and not set(directory) & set(",\"'\\")
    # The rule is about predictable names in /tmp; `is_private` checks the owner.
    return Path(directory if is_plain and size <= _SOCKET_PATH_BYTES else "/tmp")  # noqa: S108
