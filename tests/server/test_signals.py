import asyncio
import signal
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvicorn
from structlog.testing import capture_logs

from service.server.supervisor import Supervisor
from service.server.uvicorn_server import Server
from settings.http import HttpSettings


async def nothing(scope: object, receive: object, send: object) -> None:
    """Serve nothing."""


def server_with(drain_delay: timedelta) -> Server:
    settings = SimpleNamespace(http=HttpSettings(drain_delay=drain_delay))
    services = SimpleNamespace(readiness=SimpleNamespace(is_draining=False), settings=settings)
    config = uvicorn.Config(nothing, log_config=None, lifespan="off", ws="none")
    return Server(config, cast(Any, services))


@pytest.fixture
def server() -> Server:
    return server_with(timedelta(0))


async def test_handle_exit_while_serving_drains_from_the_event_loop_and_not_in_the_handler(
    server: Server,
) -> None:
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets=[])
    readiness = server.services.readiness

    with capture_logs() as logged:
        server.handle_exit(signal.SIGTERM, None)
        assert (logged, readiness.is_draining) == ([], False)
        await asyncio.sleep(0)
        assert ([line["event"] for line in logged], readiness.is_draining) == (["draining"], True)
    await asyncio.sleep(0.01)
    assert server.should_exit

    server.handle_exit(signal.SIGTERM, None)
    await asyncio.sleep(0)
    assert server.force_exit
    await server.shutdown(sockets=[])


async def test_handle_exit_again_during_the_drain_delay_exits_at_once() -> None:
    server = server_with(timedelta(minutes=5))
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets=[])

    server.handle_exit(signal.SIGTERM, None)
    await asyncio.sleep(0)
    assert (server.should_exit, server.services.readiness.is_draining) == (False, True)
    server.handle_exit(signal.SIGTERM, None)
    await asyncio.sleep(0)
    assert (server.should_exit, server.force_exit) == (True, True)
    await server.shutdown(sockets=[])


def test_handle_exit_before_the_start_exits(server: Server) -> None:
    server.handle_exit(signal.SIGTERM, None)
    assert server.should_exit


def test_stop_supervisor_from_a_signal_handler_logs_nothing() -> None:
    stopped = Supervisor(
        cast(Any, nothing),
        count=2,
        dsn="",
        listener=cast(Any, None),
        drain_timeout_s=1,
        on_worker_exit=lambda _pid: None,
    )
    with capture_logs() as logged:
        stopped.stop(signal.SIGTERM, None)
    assert (logged, stopped.is_stopping) == ([], True)
