"""The application behind the server that production uses, on a real socket in this process."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from service.server.uvicorn_server import Server, make_server
from tests.support.api import RunningService

_IDLE_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class RunningServer:
    """A server that serves until the block or the server ends."""

    server: Server
    address: tuple[str, int]
    ended: asyncio.Task[None]

    @property
    def port(self) -> int:
        return self.address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def requests(self) -> set[asyncio.Task[None]]:
        """The requests in flight."""
        return self.server.server_state.tasks

    async def wait_until_idle(self) -> None:
        """Wait until no request is in flight and no connection is open."""
        async with asyncio.timeout(_IDLE_TIMEOUT_S):
            while self.requests or self.server.server_state.connections:  # noqa: ASYNC110 - uvicorn has no event
                await asyncio.sleep(0.005)


@asynccontextmanager
async def listening(running: RunningService) -> AsyncIterator[RunningServer]:
    """Serve an application that is already started, on a free port of loopback."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = make_server(running.app, lifespan="off")
    ended = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event
        await asyncio.sleep(0)
    try:
        yield RunningServer(server, listener.getsockname(), ended)
    finally:
        server.should_exit = True
        await ended
