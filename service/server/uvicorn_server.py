"""uvicorn, configured and extended: an orderly shutdown, and a limit for slow clients."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any, Final, Literal, cast

import click
import structlog
import uvicorn

from service import __version__
from service.app import Application
from service.server.connections import ConnectionLimiter
from service.server.drain import serve_accepted
from service.server.http_protocol import HttpProtocol
from service.server.slow_clients import CHECK_INTERVAL_S, SlowClientGuard
from service.services import Services
from settings import Settings

BACKLOG: Final = 2048
KEEP_ALIVE_S: Final = 65
_CANNOT_LISTEN: Final = "Cannot listen on {address}: {reason}."
_log = structlog.get_logger("rollcall")


class Server(uvicorn.Server):
    """Shuts down in order: not ready, no new connections, requests in flight, exit status 0."""

    def __init__(
        self, config: uvicorn.Config, services: Services, on_started: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(config)
        self.services = services
        self._on_started = on_started
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closing = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature is uvicorn's
        """Leave the signal to the event loop.

        The signal may interrupt the writing of a log line: logging here would wait for a lock of its own
        thread.
        """
        if self._loop is None:
            self.should_exit = True
        else:
            self._loop.call_soon_threadsafe(self._start_draining, sig)

    def _start_draining(self, sig: int) -> None:
        """Drain at the first signal; at the second, stop waiting for the delay and for requests in flight."""
        readiness, delay = self.services.readiness, self.services.settings.http.drain_delay
        if readiness.is_draining:
            self.should_exit = self.force_exit = True
            self._forget_listeners()
            return
        _log.info("draining", signal=signal.Signals(sig).name)
        readiness.is_draining = True  # load balancers see it before the port closes
        asyncio.get_running_loop().call_later(delay.total_seconds(), self._stop_accepting)

    def _forget_listeners(self) -> None:
        """Close the listeners; from Python 3.12 on, asyncio would wait for their connections to end."""
        for server in self.servers:
            server.close()
        self.servers = []

    def _stop_accepting(self) -> None:
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and log the address.

        Raises: click.ClickException if the application could not start; uvicorn would exit with 3.
        """
        self._loop = asyncio.get_running_loop()
        try:
            await super().startup(sockets=sockets)
        except SystemExit:
            raise click.ClickException("The service could not start; the log says why.") from None
        self._guard = asyncio.create_task(self._close_slow_clients())
        if self.started:
            self._on_started()
            address = address_of(self.services.settings)
            _log.info("serving", release=__version__, address=address, worker=os.getpid())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve the connections that are accepted and the requests in flight, and end."""
        if not self.force_exit:
            await serve_accepted(sockets or (), self.server_state.connections)
        self._is_closing = True
        await super().shutdown(sockets=sockets)
        self._guard.cancel()

    async def _close_slow_clients(self) -> None:
        guard = SlowClientGuard(self.server_state.connections)
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            if self._is_closing:
                guard.close_idle()
            else:
                guard.close_slow(time.monotonic())


def make_server(
    app: Application, *, lifespan: Literal["on", "off"] = "on", on_started: Callable[[], None] = lambda: None
) -> Server:
    """Return a server for an application; run it with `run(sockets=[…])` or `serve(sockets=[…])`."""
    services = app.services
    return Server(server_config(services.settings, app, lifespan=lifespan), services, on_started)


def server_config(
    settings: Settings, app: Application, *, lifespan: Literal["on", "off"] = "on"
) -> uvicorn.Config:
    """Return uvicorn's configuration; `lifespan` is off for an application that already runs."""
    http = settings.http
    limiter = ConnectionLimiter(
        total=http.connections, per_network=http.connections_per_network, proxies=http.trusted_proxies
    )
    protocol = partial(HttpProtocol, limiter=limiter, respond=app.edge.respond_to_error)
    return uvicorn.Config(
        cast(Any, app),  # uvicorn's own ASGI types are not Litestar's
        host=http.host,
        port=http.port,
        loop="uvloop",
        http=cast(Any, protocol),  # uvicorn calls it like a class
        ws="none",
        lifespan=lifespan,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=cast(Any, http.drain_timeout.total_seconds()),  # any number will do
    )


def bind_socket(settings: Settings) -> socket.socket:
    """Bind the listening socket, as TCP by name: otherwise asyncio leaves Nagle's algorithm on.

    Raises: click.ClickException if the address is not to be had.
    """
    http = settings.http
    family = socket.AF_INET6 if ":" in http.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((http.host, http.port))
    except OSError as error:
        listener.close()
        sentence = _CANNOT_LISTEN.format(address=address_of(settings), reason=error.strerror)
        raise click.ClickException(sentence) from None
    # Each process listens once it can serve: until then clients are rejected instead of kept waiting.
    return listener


def address_of(settings: Settings) -> str:
    """Return the URL of the listening socket."""
    host = f"[{settings.http.host}]" if ":" in settings.http.host else settings.http.host
    return f"http://{host}:{settings.http.port}"
