"""The access log: one entry for each request.

Few and bounded fields, none of which can hold a secret. Source: OWASP ASVS 5.0 16.2.1, 16.2.5.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple, TypeAlias
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

_TRACE_ID: Final = slice(3, 35)


class RequestRecord(NamedTuple):
    """A completed request, without its path and query, which may hold secrets.

    `route` is the path template, None if no route matched; `network` the one that limits count the client
    by; `traceparent` and `client_request_id` are the client's, if well-formed.
    """

    method: str
    route: str | None
    status: int
    duration_s: float
    request_id: str
    network: str
    caller_id: UUID | None
    traceparent: str | None = None
    client_request_id: str | None = None


class AccessLogEntry(Struct, frozen=True):
    """The logged fields of a request in their order; unset fields are left out."""

    event: str
    logger: str
    method: str
    route: str
    status: int
    duration_ms: float
    network: str
    request_id: str
    client_request_id: str | UnsetType
    caller_id: UUID | None
    trace_id: str | UnsetType
    level: Literal["info", "warning"]
    at: datetime


AccessLogSink: TypeAlias = Callable[[AccessLogEntry], object]


def _discard(_entry: AccessLogEntry) -> None:
    """Log nothing, as logging is not configured."""


_sink: AccessLogSink = _discard


def set_sink(sink: AccessLogSink) -> AccessLogSink:
    """Send the entries of this process to `sink` from now on; return the previous sink."""
    global _sink
    previous, _sink = _sink, sink
    return previous


def log_request(entry: AccessLogEntry) -> None:
    """Log a request."""
    _sink(entry)


def entry_from(record: RequestRecord, method: str) -> AccessLogEntry:
    """Return the entry of a request that has just ended; `method` is one of a bounded set."""
    return AccessLogEntry(
        "request",
        "rollcall.access",
        method,
        record.route or "",
        record.status,
        round(record.duration_s * 1000, 2),
        record.network,
        record.request_id,
        UNSET if record.client_request_id is None else record.client_request_id,
        record.caller_id,
        UNSET if record.traceparent is None else record.traceparent[_TRACE_ID],
        "warning" if record.status >= 500 else "info",
        datetime.now(UTC),
    )
