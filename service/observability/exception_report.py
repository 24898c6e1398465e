"""What the log says about an exception nobody expected: where it came from, never what it said.

Messages of exceptions may carry secrets: asyncpg prints whole rows, parsers print their input. So the log
gets types, places in the code, and the names a database error carries.
"""

from collections.abc import Iterator
from traceback import walk_tb
from typing import Any, Final

import structlog

_NAMES: Final = (("sqlstate", "sqlstate"), ("constraint", "constraint_name"), ("table", "table_name"))
_MOST_FRAMES: Final = 40


class ClientDisconnected(Exception):
    """The client hung up before its request was complete: nobody waits for an answer."""


_log = structlog.get_logger("rollcall.api")


def log_failure(error: BaseException, *, request_id: str | None, event: str = "request_failed") -> None:
    """Log an unexpected exception at error level, without any message. Source: OWASP ASVS 5.0 16.2.5."""
    _log.error(event, request_id=request_id, **describe(error))


def describe(error: BaseException) -> dict[str, Any]:
    """Give type, causes and places of an exception, and sqlstate, constraint and table where it has them."""
    chain = list(_chain_of(error))
    facts: dict[str, Any] = {"error": _name_of(error)}
    for name, attribute in _NAMES:
        values = (getattr(link, attribute, None) for link in chain)
        if value := next((value for value in values if isinstance(value, str)), None):
            facts[name] = value
    facts["trace"] = [{"error": _name_of(link), "at": _places_of(link)} for link in chain]
    return facts


def _chain_of(error: BaseException) -> Iterator[BaseException]:
    """Walk from an exception to what caused it, driver errors and grouped errors included; each one once."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        link = waiting.pop(0)
        if not isinstance(link, BaseException) or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        waiting += [getattr(link, "orig", None), link.__cause__, link.__context__]
        waiting += getattr(link, "exceptions", ())


def _name_of(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}"


def _places_of(error: BaseException) -> list[str]:
    frames = [(frame.f_code, line) for frame, line in walk_tb(error.__traceback__)]
    return [f"{code.co_filename}:{line} {code.co_qualname}" for code, line in frames[-_MOST_FRAMES:]]
