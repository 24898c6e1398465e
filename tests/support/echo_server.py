"""The edge on a socket, with an application behind it that responds with what it got."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import uvicorn
from uvicorn.server import ServerState

from service.api.http.body import read_body
from service.api.http.edge import EdgeMiddleware
from service.observability.access_log import RequestRecord
from service.server.connections import ConnectionLimiter
from service.server.http_protocol import HttpProtocol

HOST = b"Host: here\r\n"
CLOSE = b"Connection: close\r\n"
GET = b"GET /a HTTP/1.1\r\n" + HOST
POST = b"POST /b HTTP/1.1\r\n" + HOST
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LAST = b"GET /last HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n"


@dataclass
class Echo:
    """An application that responds with what it got, once it may."""

    may_respond: asyncio.Event = field(default_factory=asyncio.Event)
    scopes: list[Any] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Respond with method, target and body."""
        self.scopes.append(scope)
        await self.may_respond.wait()
        body = await read_body(scope["state"]["fields"], receive, limit_bytes=100_000)
        got = json.dumps([scope["method"], scope["path"], body.decode()]).encode()
        length = (b"content-length", b"%d" % len(got))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": got})


@dataclass
class EdgeServer:
    """The edge with an application behind it, served on loopback."""

    address: tuple[str, int]
    app: Echo
    state: ServerState
    records: list[RequestRecord]

    @property
    def protocols(self) -> list[HttpProtocol]:
        """The open connections."""
        return [each for each in self.state.connections if isinstance(each, HttpProtocol)]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds."""
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - uvicorn has no event
                await asyncio.sleep(0.001)


@asynccontextmanager
async def serving_echo(*, total: int = 100, per_network: int = 100, **edge: Any) -> AsyncIterator[EdgeServer]:
    """Serve on a free port of loopback; `edge` are options of the middleware."""
    app, state, records = Echo(), ServerState(), list[RequestRecord]()
    middleware = EdgeMiddleware(app, observe=records.append, **edge)
    config = uvicorn.Config(cast(Any, middleware), ws="none", lifespan="off", log_config=None)
    config.load()
    limiter = ConnectionLimiter(total=total, per_network=per_network, proxies=edge.get("trusted_proxies", ()))

    def connect() -> HttpProtocol:
        return HttpProtocol(config, state, {}, limiter=limiter, respond=middleware.respond_to_error)

    server = await asyncio.get_running_loop().create_server(connect, "127.0.0.1", 0)
    async with server:
        app.may_respond.set()
        yield EdgeServer(server.sockets[0].getsockname(), app, state, records)
        for protocol in list(state.connections):
            cast(HttpProtocol, protocol).transport.abort()


@asynccontextmanager
async def connected(server: EdgeServer, count: int) -> AsyncIterator[None]:
    """Hold more connections open that send nothing."""
    before = len(server.protocols)
    opened = [await asyncio.open_connection(*server.address) for _ in range(count)]
    await server.until(lambda: len(server.protocols) == before + count)
    try:
        yield
    finally:
        for _, writer in opened:
            writer.close()


async def exchange(server: EdgeServer, *parts: bytes) -> bytes:
    """Send parts, each once the previous one has been read, and return all that is answered."""
    reader, writer = await asyncio.open_connection(*server.address)
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.01 if len(parts) > 1 else 0)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


def echoes(answer: bytes) -> list[list[str]]:
    """Return what the application got, for each of its responses."""
    return [json.loads(found) for found in re.findall(rb"\r\n\r\n(\[.*?\])(?=HTTP/1.1|$)", answer)]


def statuses(answer: bytes) -> list[int]:
    """Return the status of each response."""
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3})", answer)]
