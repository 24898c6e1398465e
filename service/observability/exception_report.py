"""Describe exceptions for the log: where they came from, never what they said.

Messages of exceptions may carry secrets: asyncpg prints whole rows, parsers print their input. The log gets
types, frames, and the names that a database error carries. Source: OWASP ASVS 5.0 16.2.5.
"""

from collections.abc import Iterator
from traceback import walk_tb
from typing import Any, Final

import structlog

_DATABASE_FIELDS: Final = (
    ("sqlstate", "sqlstate"),
    ("constraint", "constraint_name"),
    ("table", "table_name"),
)
_MAX_FRAMES: Final = 40

_log = structlog.get_logger("rollcall.api")


class ClientDisconnected(Exception):
    """The client hung up before its request was complete: there is nobody to respond to."""


def log_failure(error: BaseException, *, request_id: str | None) -> None:
    """Log an unexpected exception at error level."""
    _log.error("request_failed", request_id=request_id, **describe(error))


def describe(error: BaseException) -> dict[str, Any]:
    """Return the summary of an unexpected exception, and the frames of it and of its causes."""
    trace = [{"error": _name_of(link), "at": _frames_of(link)} for link in chain_of(error)]
    return {**summarize(error), "trace": trace}


def summarize(error: BaseException) -> dict[str, Any]:
    """Return the type of an exception, and the SQLSTATE, constraint and table it or a cause carries."""
    chain = list(chain_of(error))
    fields: dict[str, Any] = {"error": _name_of(error)}
    for name, attribute in _DATABASE_FIELDS:
        values = (getattr(link, attribute, None) for link in chain)
        if value := next((value for value in values if isinstance(value, str)), None):
            fields[name] = value
    return fields


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes, driver errors and grouped errors included, each once."""
    seen: set[int] = set()
    pending: list[object] = [error]
    while pending:
        link = pending.pop(0)
        if not isinstance(link, BaseException) or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        pending += [getattr(link, "orig", None), link.__cause__, link.__context__]
        pending += getattr(link, "exceptions", ())


def _name_of(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}"


def _frames_of(error: BaseException) -> list[str]:
    frames = [(frame.f_code, line) for frame, line in walk_tb(error.__traceback__)]
    return [f"{code.co_filename}:{line} {code.co_qualname}" for code, line in frames[-_MAX_FRAMES:]]
