"""The application behind the server that production uses, on a real socket."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.server.uvicorn_server import make_server
from tests.support.api import Running


@asynccontextmanager
async def listening(running: Running) -> AsyncIterator[tuple[str, int]]:
    """Serve an application that already lives; give host and port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = make_server(running.app, lifespan="off")
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets=[listener])
    try:
        yield listener.getsockname()
    finally:
        await server.shutdown(sockets=[listener])
