"""Commands, run in the test's own process: a process of its own costs a second each time."""

import asyncio
import io
import sys
from collections.abc import Awaitable, Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

import pytest
from structlog.testing import capture_logs

from harness.service_process import environment
from service.cli import main
from settings import get_settings

_LOGGING = ("service.services", "service.cli.users", "service.cli.doctor")


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Awaitable[Done]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run `python -m service …` with these variables, and give what it left behind."""
    for module in _LOGGING:
        monkeypatch.setattr(f"{module}.configure_logs", lambda *_, **__: None)

    async def run(*arguments: str, stdin: str = "", **variables: str) -> Done:
        for name, value in environment(**variables).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["service", *arguments])
        monkeypatch.setattr(sys, "stdin", _stream(stdin))
        get_settings.cache_clear()
        try:
            with capture_logs():  # which would else be printed among the results
                return await asyncio.to_thread(_run_main)
        finally:
            get_settings.cache_clear()

    return run


def _run_main() -> Done:
    out, err = _stream(), _stream()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as exit_:
            code: Any = exit_.code
    return Done(code or 0, _text_of(out), _text_of(err))


def _stream(text: str = "") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8", write_through=True)


def _text_of(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()
