"""Logs: one line an event on standard error, for people on a terminal and as JSON otherwise.

Source: OWASP ASVS 5.0 16.2.1, 16.4.1: UTC, structured, and nothing an input says can forge a line.
"""

import logging
import sys
from contextlib import suppress
from typing import Any, TextIO, cast

import msgspec
import structlog
from structlog.typing import EventDict, Processor

from service.cli.lines import Lines
from settings import Settings

_encode = msgspec.json.Encoder(enc_hook=str).encode
_QUIET = ("asyncio", "uvicorn", "uvicorn.error", "uvicorn.access", "alembic", "sqlalchemy")


class Forgiving:
    """A stream on which what cannot be written is lost: a full disk under the log must not stop all else."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write, if it can be."""
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        """Flush, if it can be."""
        with suppress(OSError):
            self._stream.flush()


def configure_logs(settings: Settings, *, is_command: bool = False, is_server: bool = False) -> None:
    """Make every log line of this process, the libraries' too, come out in the chosen form.

    A command that ends by itself tells its result; only its warnings are logged, unless debugging was
    chosen. A server's lines are written by a thread beside its event loop, a moment later.
    """
    stream = cast(TextIO, Forgiving(sys.stderr))
    if is_server:
        stream = cast(TextIO, Lines(stream))
    is_console = settings.log.format == "console" or (settings.log.format == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    renderer: Processor = structlog.dev.ConsoleRenderer() if is_console else _as_json
    level: int = logging.getLevelName(settings.log.level.upper())
    if is_command and level > logging.DEBUG:
        level = max(level, logging.WARNING)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
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


def _as_json(_logger: Any, _method: str, event: EventDict) -> str:
    return _encode(event).decode()


def _without_internals(_logger: Any, _method: str, event: EventDict) -> EventDict:
    return {name: value for name, value in event.items() if not name.startswith("_") and name != "exc_info"}
