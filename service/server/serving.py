"""Serving: the schema if we may, the first administrator if there is none, then the workers."""

import asyncio
import gc
import os
import secrets
import signal
import socket
import time
from functools import partial
from types import FrameType
from typing import Any, cast

import click
import structlog
import uvicorn
from litestar import Litestar

from service import __version__
from service.app import Service, create_app
from service.console import print_status
from service.db.migrations.probe import DatabaseState, probe
from service.domain.callers import OPERATOR
from service.domain.events import AuditContext
from service.domain.users import Role
from service.loading import load
from service.observability.access_log import AccessLogSink
from service.observability.logging import configure_server_logs
from service.observability.metrics import registry_of_workers
from service.observability.metrics_server import metrics_server, multiprocess_metrics
from service.server.drain import serve_accepted
from service.server.slow_clients import LOOK_EVERY_S, SlowClientGuard
from service.server.supervisor import Supervisor
from service.services import with_service
from service.usecases.users import Registration, create_user, prepare_user
from settings import Settings, get_settings

FIRST_ADMIN = "root"
KEEP_ALIVE_SECONDS = 65
BACKLOG = 2048
SPARE_SECONDS = 5
COLLECT_AFTER = 50_000
_CANNOT_LISTEN = "Cannot listen on {address}: the address is in use or not of this machine."
_log = structlog.get_logger("rollcall")


def run(settings: Settings, dsn: str, access_log: AccessLogSink) -> None:
    """Serve on the database that runs at this DSN, once it is migrated and has an administrator."""
    is_embedded = settings.database.dsn is None
    found = asyncio.run(probe(dsn)) if is_embedded else DatabaseState()
    if settings.migrates_on_start and (settings.migrations_dsn or not found.is_at_head):
        load("service.server.migrate_on_start", "migrate_to_head")(settings, settings.migrations_dsn or dsn)
    if is_embedded and not found.has_accounts:
        _ensure_first_admin(settings, dsn)
    if settings.http.workers == 1:
        app = create_app(settings, dsn=dsn, access_log=access_log)
        with _listen(settings) as listening, metrics_server(settings, app.state["telemetry"].registry):
            _serve_here(settings, app, listening)
    else:
        _serve_in_workers(settings, dsn)


class _Server(uvicorn.Server):
    """Ends in order: not ready first, then no new connections, then what is in flight, then exit status 0."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closing = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature is uvicorn's
        """Leave the signal to the event loop.

        A handler runs in the middle of anything, of the writing of a log line too: logging here would wait
        for a lock that its own thread holds.
        """
        if self._loop is None:
            self.should_exit = True
        else:
            self._loop.call_soon_threadsafe(self._start_draining, sig)

    def _start_draining(self, sig: int) -> None:
        """Begin to drain at the first signal; at the second, stop waiting for requests in flight."""
        if self._service.is_draining:
            self.force_exit = True
            return
        _log.info("draining", signal=signal.Signals(sig).name)
        self._service.is_draining = True
        self._service.after_drain_delay(self._stop_accepting)

    def _stop_accepting(self) -> None:
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve what is accepted and what is in flight, and end."""
        if not self.force_exit:
            await serve_accepted(sockets or (), self.server_state.connections)
        self._is_closing = True
        await super().shutdown(sockets=sockets)
        self._watch.cancel()

    async def _watch_connections(self) -> None:
        idleness = SlowClientGuard(self.server_state.connections)
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self._is_closing:
                idleness.end_all()
            else:
                idleness.close_slow(time.monotonic())

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say where."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets=sockets)
        self._watch = asyncio.create_task(self._watch_connections())
        _tune_gc()
        if self.started:
            address = _address_of(self._service.settings)
            _log.info("serving", release=__version__, address=address, worker=os.getpid())


def _tune_gc() -> None:
    """Keep the garbage collector from walking what lives as long as the process, and from running so often.

    Its pauses, 10 to 25 ms for 20 000 objects beside a storm of log-ins, are most of what the slowest percent
    of requests waits for. It has little to do: requests leave no circles behind.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)


def _serve_here(settings: Settings, app: Litestar, listening: socket.socket) -> None:
    server = _Server(_config(settings, app), app.state["service"])
    server.run(sockets=[listening])
    if not server.started:
        raise click.ClickException("The service could not start; the log says why.")


def _serve_in_workers(settings: Settings, dsn: str) -> None:
    """Serve in several processes behind one socket; one that dies is replaced."""
    lock_retry = settings.http.drain_delay + settings.http.drain_timeout
    with (
        _listen(settings) as listening,
        multiprocess_metrics() as on_worker_exit,
        metrics_server(settings, registry_of_workers()),
    ):
        Supervisor(
            serve_as_worker,
            count=settings.http.workers,
            dsn=dsn,
            listening=listening,
            drain_timeout_s=lock_retry.total_seconds() + SPARE_SECONDS,
            on_worker_exit=on_worker_exit,
        ).run()


def serve_as_worker(dsn: str, listening: socket.socket) -> None:
    """Serve as one of several processes; the socket is shared by all of them."""
    settings = get_settings()
    access_log = configure_server_logs(settings)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which passes it on
    _serve_here(settings, create_app(settings, dsn=dsn, access_log=access_log), listening)


def _listen(settings: Settings) -> socket.socket:
    """Bind the listening socket, as TCP by name: without that, asyncio leaves Nagle's algorithm on."""
    http = settings.http
    family = socket.AF_INET6 if ":" in http.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((http.host, http.port))
    except OSError:
        listening.close()
        raise click.ClickException(_CANNOT_LISTEN.format(address=_address_of(settings))) from None
    # Each server process begins to listen when it can serve: until then callers are refused instead of kept.
    listening.set_inheritable(True)
    return listening


def _config(settings: Settings, app: Litestar) -> uvicorn.Config:
    http = settings.http
    return uvicorn.Config(
        cast(Any, app),  # uvicorn's own ASGI types are not Litestar's
        host=http.host,
        port=http.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=round(http.drain_timeout.total_seconds()),
    )


def _ensure_first_admin(settings: Settings, dsn: str) -> None:
    """On the first run, make an administrator and tell how to log in, this once."""
    password = secrets.token_urlsafe(16)
    if with_service(settings, dsn, partial(_create_first_admin, password=password)):
        print_status("")
        print_status("  This is the first run, so there is an administrator now. This is shown once:")
        print_status(f"    login id  {FIRST_ADMIN}")
        print_status(f"    password  {password}")
        print_status("")


async def _create_first_admin(service: Service, *, password: str) -> bool:
    async with service.uow() as tx:
        if not await tx.users.is_empty():
            return False
    context = AuditContext(OPERATOR)
    wanted = Registration(FIRST_ADMIN, "Administrator", password=password, role=Role.ADMIN)
    new = await prepare_user(wanted, hasher=service.hasher, context=context, policies=service.policies)
    async with service.uow() as tx:
        await create_user(tx, new, context=context)
    return True


def _address_of(settings: Settings) -> str:
    host = f"[{settings.http.host}]" if ":" in settings.http.host else settings.http.host
    return f"http://{host}:{settings.http.port}"
