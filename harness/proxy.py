"""A proxy between the service and PostgreSQL that spoils what passes: for proofs alone."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from pathlib import Path
from types import TracebackType
from typing import Self

_CHUNK_BYTES = 65536
_COMMIT_SENT = b"COMMIT;\0"
_COMMIT_DONE = b"COMMIT\0"


class LostCommits(Enum):
    """How a COMMIT gets lost."""

    SENT = auto()
    """The connection ends before it reaches the server."""
    DONE = auto()
    """The connection ends before the server's word that it has committed gets back."""
    UNANSWERED = auto()
    """That word does not get back, and nothing ends."""


_DONE = (LostCommits.DONE, LostCommits.UNANSWERED)


class Proxy:
    """Listens in a directory as a PostgreSQL server does, and passes everything on to the real one.

    The attributes may be changed at any time and hold for open connections too, `cut_after_bytes` for newer
    ones.
    """

    def __init__(self, directory: Path, target: Path) -> None:
        """`directory` gets the socket, `target` is the directory of the real server's socket."""
        self._path = directory / ".s.PGSQL.5432"
        self._target = target / ".s.PGSQL.5432"
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._passable = asyncio.Event()
        self._passable.set()
        self.latency_s = 0.0
        self.bytes_per_second: int | None = None
        self.cut_after_bytes: int | None = None
        """Each new connection ends when the server has said so much."""
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
        """Let nothing pass for as long as the block runs, and tell nobody."""
        self._passable.clear()
        try:
            yield
        finally:
            self._passable.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.current_task()
        if link is None:
            raise RuntimeError("there is no task to end")
        self._links.add(link)
        try:
            await self._connect(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # either end is gone, which is what a proxy is there to pass on
        finally:
            self._links.discard(link)
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._passable.wait()
        server_reader, server_writer = await asyncio.open_unix_connection(str(self._target))
        directions = [
            asyncio.create_task(self._pass_up(reader, server_writer)),
            asyncio.create_task(self._pass_down(server_reader, writer, self.cut_after_bytes)),
        ]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
            server_writer.transport.abort()

    async def _pass_up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK_BYTES):
            if self.lost_commits is LostCommits.SENT and self._is_lost(_COMMIT_SENT, data):
                return
            await self._hold(data)
            writer.write(data)
            await writer.drain()

    async def _pass_down(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit_bytes: int | None
    ) -> None:
        passed = 0
        while data := await reader.read(_CHUNK_BYTES):
            if self.lost_commits in _DONE and self._is_lost(_COMMIT_DONE, data):
                if self.lost_commits is LostCommits.UNANSWERED:
                    await asyncio.Event().wait()
                return
            await self._hold(data)
            passed += len(data)
            if limit_bytes is not None and passed > limit_bytes:
                return
            writer.write(data)
            await writer.drain()

    def _is_lost(self, sign: bytes, data: bytes) -> bool:
        if sign not in data:
            return False
        if self.commits_spared:
            self.commits_spared -= 1
            return False
        self.commits_lost += 1
        return True

    async def _hold(self, data: bytes) -> None:
        await self._passable.wait()
        delay_s = self.latency_s + (len(data) / self.bytes_per_second if self.bytes_per_second else 0)
        if delay_s:
            await asyncio.sleep(delay_s)


def socket_directory_of(dsn: str) -> Path:
    """Give the directory of the socket that a DSN of the embedded server names."""
    return Path(dsn.partition("host=")[2].partition("&")[0])


def dsn_through(dsn: str, directory: Path) -> str:
    """Give a DSN that leads to another socket directory."""
    return dsn.replace(f"host={socket_directory_of(dsn)}", f"host={directory}")
