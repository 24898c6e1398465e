"""An HTTP client with one persistent connection; it never retries or reconnects by itself."""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Response:
    """A status and the JSON body, if any."""

    status: int
    body: Any


class Client:
    """A client of one port of loopback."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        writer = self._writer
        self._close()
        if writer is not None:
            with suppress(OSError):
                await writer.wait_closed()

    async def request(self, method: str, path: str, token: str | None = None, body: Any = None) -> Response:
        """Send one request and return its response.

        Raises:
            OSError, asyncio.IncompleteReadError: the connection was refused, reset or closed.
        """
        try:
            reader, writer = await self._connect()
            writer.write(_serialize(method, path, token, body))
            await writer.drain()
            return await self._read_response(reader)
        except (OSError, asyncio.IncompleteReadError):
            self._close()
            raise

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self._reader, self._writer

    async def _read_response(self, reader: asyncio.StreamReader) -> Response:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection") == "close":
            self._close()
        is_json = "json" in headers.get("content-type", "json")
        return Response(int(status_line.split(" ")[1]), json.loads(body) if body and is_json else None)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


def _serialize(method: str, path: str, token: str | None, body: Any) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(content)}"]
    if body is not None:
        lines.append("Content-Type: application/json")
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode() + content
