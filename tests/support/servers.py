"""The application behind the server that production uses, on a real socket."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn

from service.server.serving import _config
from tests.support.api import Running


@asynccontextmanager
async def listening(running: Running) -> AsyncIterator[tuple[str, int]]:
    """Serve an application that already lives; give host and port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = _config(running.service.settings, running.app)
    config.lifespan, config.log_config = "off", None
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    try:
        yield listener.getsockname()
    finally:
        await server.shutdown(sockets=[listener])
