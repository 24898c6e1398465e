"""Logging: one event a line on standard error, as JSON or, on a terminal, for people.

Source: OWASP ASVS 5.0 16.2.1, 16.4.1: UTC, structured, and no input can forge a line.
"""

import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO, cast

import msgspec
import structlog
from structlog.typing import EventDict, Processor

from service.observability import access_log
from service.observability.access_log import AccessLogEntry, AccessLogSink
from service.observability.log_writer import BackgroundLogWriter
from settings import Settings

_encode = msgspec.json.Encoder(enc_hook=str).encode
_LEVELS = logging.getLevelNamesMapping()
_QUIET = ("asyncio", "uvicorn", "uvicorn.error", "uvicorn.access", "alembic", "sqlalchemy")


class LossyStream:
    """A stream that drops what cannot be written: a full disk under the log must not stop everything else."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write, or lose the text."""
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        """Flush, or lose what is buffered."""
        with suppress(OSError):
            self._stream.flush()


class _NamedLogger(structlog.WriteLogger):
    """A logger that knows its name, for the field `logger`."""

    def __init__(self, stream: TextIO, name: str) -> None:
        super().__init__(stream)
        self.name = name


def configure_server_logs(settings: Settings) -> BackgroundLogWriter[AccessLogEntry]:
    """Configure logging for a server: a thread renders the access log and writes every line.

    Return the writer.
    """
    writer: BackgroundLogWriter[AccessLogEntry] = BackgroundLogWriter(
        cast(TextIO, LossyStream(sys.stderr)), _entry_renderer(_renderer(settings))
    )
    _configure(settings, cast(TextIO, writer), _LEVELS[settings.log.level.upper()], writer.add)
    return writer


def configure_logs(settings: Settings, *, is_command: bool = False) -> None:
    """Configure logging for everything in this process, libraries included.

    A command prints its result, so it logs warnings and errors alone unless the level is debug.
    """
    level, stream = _LEVELS[settings.log.level.upper()], cast(TextIO, LossyStream(sys.stderr))
    if is_command and level > logging.DEBUG:
        level = max(level, logging.WARNING)
    render = _entry_renderer(_renderer(settings))
    _configure(settings, stream, level, lambda entry: stream.write(render(entry)))


def _configure(settings: Settings, stream: TextIO, level: int, sink: AccessLogSink) -> None:
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    renderer = _renderer(settings)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda name="rollcall": _NamedLogger(stream, name),
        cache_logger_on_first_use=True,
    )
    access_log.set_sink(sink if level <= logging.INFO else _only_above_info(sink, level))
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[_without_internals, renderer]
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for name in _QUIET:
        library = logging.getLogger(name)
        library.handlers, library.propagate = [], True
        library.setLevel(max(level, logging.WARNING))


def _only_above_info(sink: AccessLogSink, level: int) -> AccessLogSink:
    def filtered(entry: AccessLogEntry) -> None:
        if level <= logging.WARNING and entry.level == "warning":
            sink(entry)

    return filtered


def _renderer(settings: Settings) -> Processor:
    is_console = settings.log.format == "console" or (settings.log.format == "auto" and sys.stderr.isatty())
    return structlog.dev.ConsoleRenderer() if is_console else _as_json


def _entry_renderer(renderer: Processor) -> Callable[[AccessLogEntry], str]:
    """Return what renders an entry as `renderer` does events; as JSON, at a tenth of the cost."""
    if renderer is _as_json:
        return lambda entry: f"{_encode(entry).decode()}\n"
    return lambda entry: str(renderer(None, entry.level, msgspec.to_builtins(entry))) + "\n"


def _as_json(_logger: Any, _method: str, event: EventDict) -> str:
    return _encode(event).decode()


def _without_internals(_logger: Any, _method: str, event: EventDict) -> EventDict:
    return {name: value for name, value in event.items() if not name.startswith("_") and name != "exc_info"}
