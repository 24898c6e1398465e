import asyncio
import signal
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvicorn

from service.server import supervisor, uvicorn_server
from service.server.uvicorn_server import Server
from settings.http import HttpSettings


class CountingLog:
    """Counts log lines."""

    def __init__(self) -> None:
        self.lines = 0

    def info(self, *_arguments: object, **_fields: object) -> None:
        self.lines += 1


async def nothing(scope: object, receive: object, send: object) -> None:
    """Serve nothing."""


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> CountingLog:
    log = CountingLog()
    for module in (uvicorn_server, supervisor):
        monkeypatch.setattr(module, "_log", log)
    return log


@pytest.fixture
def server() -> Server:
    settings = SimpleNamespace(http=HttpSettings(drain_delay=timedelta(0)))
    services = SimpleNamespace(readiness=SimpleNamespace(is_draining=False), settings=settings)
    config = uvicorn.Config(nothing, log_config=None, lifespan="off", ws="none")
    return Server(config, cast(Any, services))


async def test_handle_exit_while_serving_drains_from_the_event_loop_and_not_in_the_handler(
    log: CountingLog, server: Server
) -> None:
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets=[])
    lines_at_start = log.lines
    readiness = server.services.readiness

    server.handle_exit(signal.SIGTERM, None)
    assert (log.lines - lines_at_start, readiness.is_draining) == (0, False)
    await asyncio.sleep(0)
    assert (log.lines - lines_at_start, readiness.is_draining) == (1, True)
    await asyncio.sleep(0.01)
    assert server.should_exit

    server.handle_exit(signal.SIGTERM, None)
    await asyncio.sleep(0)
    assert server.force_exit
    await server.shutdown(sockets=[])


def test_handle_exit_before_the_start_exits(server: Server) -> None:
    server.handle_exit(signal.SIGTERM, None)
    assert server.should_exit


def test_stop_supervisor_from_a_signal_handler_logs_nothing(log: CountingLog) -> None:
    stopped = supervisor.Supervisor(
        cast(Any, nothing),
        count=2,
        dsn="",
        listener=cast(Any, None),
        drain_timeout_s=1,
        on_worker_exit=lambda _pid: None,
    )
    stopped.stop(signal.SIGTERM, None)
    assert (log.lines, stopped.is_stopping) == (0, True)
