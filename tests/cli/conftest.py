"""Run commands in the test's own process, as another process takes a second."""

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

LOGGING = ("service.services", "service.cli.users")


@dataclass(frozen=True)
class CommandResult:
    """The result of a command."""

    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Awaitable[CommandResult]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run `python -m service …` with these variables, and return its result."""
    for module in LOGGING:
        monkeypatch.setattr(f"{module}.configure_logs", lambda *_, **__: None)

    async def run(*arguments: str, stdin: str | bytes = "", **variables: str) -> CommandResult:
        for name, value in environment(**variables).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["service", *arguments])
        monkeypatch.setattr(sys, "stdin", _stream(stdin))
        get_settings.cache_clear()
        try:
            with capture_logs():  # otherwise printed with the results
                return await asyncio.to_thread(_run_main)
        finally:
            get_settings.cache_clear()

    return run


def _run_main() -> CommandResult:
    out, err = _stream(), _stream()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as exit_:
            code: Any = exit_.code
    return CommandResult(code or 0, _text_of(out), _text_of(err))


def _stream(text: str | bytes = "") -> io.TextIOWrapper:
    raw = text.encode() if isinstance(text, str) else text
    return io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8", write_through=True)


def _text_of(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()
