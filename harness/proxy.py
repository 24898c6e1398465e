"""A proxy between the service and PostgreSQL that injects the faults of a network."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_CHUNK_BYTES: Final = 65536
_COMMIT_SENT: Final = b"COMMIT;\0"
_COMMIT_DONE: Final = b"COMMIT\0"


class LostCommits(Enum):
    """How a COMMIT gets lost."""

    SENT = auto()
    """The connection ends before the COMMIT reaches the server."""
    DONE = auto()
    """The connection ends before the server's reply gets back."""
    UNANSWERED = auto()
    """The reply does not get back, and the connection stays open."""


_REPLY_LOST: Final = (LostCommits.DONE, LostCommits.UNANSWERED)


class Proxy:
    """Listens on a PostgreSQL socket in a directory, and forwards everything to the real server.

    The attributes may be changed at any time. They apply to open connections too, except `cut_after_bytes`.
    """

    def __init__(self, directory: Path, target: Path) -> None:
        """`directory` gets the socket; `target` has the socket of the real server."""
        self._path = directory / ".s.PGSQL.5432"
        self._target = target / ".s.PGSQL.5432"
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._passable = asyncio.Event()
        self._passable.set()
        self.latency_s = 0.0
        self.bytes_per_second: int | None = None
        self.cut_after_bytes: int | None = None
        """A new connection ends when the server has sent so much."""
        self.lost_commits: LostCommits | None = None
        self.commits_spared = 0
        """So many get through before any is lost."""
        self.commits_lost = 0

    async def __aenter__(self) -> Self:
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._accept, str(self._path))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        self._passable.set()
        self.cut()
        await asyncio.gather(*self._links, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    def cut(self) -> None:
        """End every connection."""
        for link in self._links:
            link.cancel()

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Forward nothing while the block runs; connections stay open."""
        self._passable.clear()
        try:
            yield
        finally:
            self._passable.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.current_task()
        if link is None:
            raise RuntimeError("a connection is served by a task")
        self._links.add(link)
        try:
            await self._connect(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # one end is gone; the other is closed below
        finally:
            self._links.discard(link)
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._passable.wait()
        server_reader, server_writer = await asyncio.open_unix_connection(str(self._target))
        directions = [
            asyncio.create_task(self._forward_to_server(reader, server_writer)),
            asyncio.create_task(self._forward_to_client(server_reader, writer, self.cut_after_bytes)),
        ]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
            server_writer.transport.abort()

    async def _forward_to_server(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK_BYTES):
            if self.lost_commits is LostCommits.SENT and self._loses_commit(_COMMIT_SENT, data):
                return
            await self._delay(data)
            writer.write(data)
            await writer.drain()

    async def _forward_to_client(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit_bytes: int | None
    ) -> None:
        passed = 0
        while data := await reader.read(_CHUNK_BYTES):
            if self.lost_commits in _REPLY_LOST and self._loses_commit(_COMMIT_DONE, data):
                if self.lost_commits is LostCommits.UNANSWERED:
                    await asyncio.Event().wait()
                return
            await self._delay(data)
            passed += len(data)
            if limit_bytes is not None and passed > limit_bytes:
                return
            writer.write(data)
            await writer.drain()

    def _loses_commit(self, sign: bytes, data: bytes) -> bool:
        if sign not in data:
            return False
        if self.commits_spared:
            self.commits_spared -= 1
            return False
        self.commits_lost += 1
        return True

    async def _delay(self, data: bytes) -> None:
        await self._passable.wait()
        delay_s = self.latency_s + (len(data) / self.bytes_per_second if self.bytes_per_second else 0)
        if delay_s:
            await asyncio.sleep(delay_s)


def socket_directory_of(dsn: str) -> Path:
    """Return the socket directory in a DSN of the embedded server."""
    return Path(dsn.partition("host=")[2].partition("&")[0])


def dsn_through(dsn: str, directory: Path) -> str:
    """Return the DSN with another socket directory."""
    return dsn.replace(f"host={socket_directory_of(dsn)}", f"host={directory}")
