import asyncio
import signal
import socket
from contextlib import closing
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import click
import pytest
import uvicorn
from structlog.testing import capture_logs

from service.db.core.read_pool import ReadPool
from service.server import serving
from service.server.supervisor import Supervisor
from service.server.uvicorn_server import Server
from settings.http import HttpSettings
from tests.support.settings import settings_for_tests

CANNOT_START = "The service could not start; the log says why."


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


async def test_start_of_an_application_that_fails_raises_a_sentence() -> None:
    async def fail(scope: object, receive: object, send: object) -> None:
        raise OSError

    config = uvicorn.Config(fail, log_config=None, lifespan="on", ws="none")
    config.load()
    failed = Server(config, cast(Any, None))
    failed.lifespan = config.lifespan_class(config)
    with pytest.raises(click.ClickException) as raised:
        await failed.startup(sockets=[])
    assert (raised.value.exit_code, raised.value.message) == (1, CANNOT_START)


async def test_worker_that_cannot_start_prints_the_sentence_of_a_command_and_exits_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail(_: ReadPool) -> None:
        raise OSError

    def run_worker() -> object:
        with closing(socket.socket()) as listener, pytest.raises(SystemExit) as exit_:
            serving.serve_as_worker(0, "postgresql://ada@127.0.0.1:1/ada", listener)
        return exit_.value.code

    monkeypatch.setattr(ReadPool, "start", fail)
    monkeypatch.setattr(serving, "get_settings", settings_for_tests)
    for name in ("configure_server_logs", "share_metrics", "raise_open_files_limit"):
        monkeypatch.setattr(serving, name, lambda _: None)
    assert await asyncio.to_thread(run_worker) == 1
    assert capsys.readouterr().err.splitlines()[-1] == CANNOT_START


def test_handle_exit_before_the_start_exits(server: Server) -> None:
    server.handle_exit(signal.SIGTERM, None)
    assert server.should_exit


def test_stop_supervisor_from_a_signal_handler_logs_nothing() -> None:
    stopped = supervisor_of("")
    with capture_logs() as logged:
        stopped.stop(signal.SIGTERM, None)
    assert (logged, stopped.is_stopping) == ([], True)


def test_repr_of_a_supervisor_shows_no_password() -> None:
    assert "hunter2" not in repr(supervisor_of("postgresql://ada:hunter2@127.0.0.1/ada"))


def supervisor_of(dsn: str) -> Supervisor:
    return Supervisor(
        cast(Any, nothing),
        count=2,
        dsn=dsn,
        listener=cast(Any, None),
        drain_timeout_s=1,
        on_worker_exit=lambda _slot: None,
    )
