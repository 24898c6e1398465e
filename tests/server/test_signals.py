import asyncio
import signal
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvicorn

from service.server import serving, supervisor


class Log:
    """Counts lines."""

    def __init__(self) -> None:
        self.lines = 0

    def info(self, *_arguments: object, **_fields: object) -> None:
        self.lines += 1


async def nothing(*_arguments: object) -> None:
    """Serve nothing."""


async def test_handle_a_signal_in_the_middle_of_a_log_line_leaves_it_to_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = Log()
    stops: list[object] = []
    monkeypatch.setattr(serving, "_log", log)
    service = SimpleNamespace(is_draining=False, after_drain_delay=stops.append)
    server = serving._Server(uvicorn.Config(nothing, log_config=None), cast(Any, service))
    server._loop = asyncio.get_running_loop()

    server.handle_exit(signal.SIGTERM, None)
    assert (log.lines, service.is_draining) == (0, False)
    await asyncio.sleep(0)
    assert (log.lines, service.is_draining, len(stops)) == (1, True, 1)

    server.handle_exit(signal.SIGTERM, None)
    await asyncio.sleep(0)
    assert server.force_exit


def test_handle_a_signal_before_the_start_ends_it() -> None:
    server = serving._Server(uvicorn.Config(nothing, log_config=None), cast(Any, SimpleNamespace()))
    server.handle_exit(signal.SIGTERM, None)
    assert server.should_exit


def test_pass_a_signal_on_to_workers_logs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    monkeypatch.setattr(supervisor, "_log", log)
    above = supervisor.Supervisor(
        cast(Any, nothing),
        count=2,
        dsn="",
        listening=cast(Any, None),
        drain_timeout_s=1,
        on_worker_exit=lambda _pid: None,
    )
    above._end(signal.SIGTERM, None)
    assert (log.lines, above._is_ending) == (0, True)
