"""Connections that ask for nothing, which the HTTP server would keep.

uvicorn limits the time between two requests, and not how long the first line and the header fields of one may
take to arrive. At its end it closes what is idle once, and then waits for what was accepted in that moment.
"""

from collections.abc import Collection
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADERS_WITHIN_S: Final = 10.0
LOOK_EVERY_S: Final = 0.5


class SlowClientGuard:
    """Watches the open connections of a server, and ends those whose next request is too long in coming."""

    def __init__(self, connections: Collection[object]) -> None:
        self._connections = connections
        self._since: dict[tuple[HttpToolsProtocol, object], float] = {}

    def close_slow(self, now_s: float) -> None:
        """End what has begun a request, or nothing at all, and not got on to its end within the time.

        Source: OWASP ASVS 5.0 15.2.2 (no client may hold what others need).
        """
        slow = {(connection, connection.cycle) for connection in self._waiting() if not _is_kept(connection)}
        self._since = {key: self._since.get(key, now_s) for key in slow}
        for (connection, _), since_s in self._since.items():
            if now_s - since_s >= HEADERS_WITHIN_S:
                connection.shutdown()

    def end_all(self) -> None:
        """End every connection on which no request is being answered."""
        for connection in self._waiting():
            connection.shutdown()

    def _waiting(self) -> list[HttpToolsProtocol]:
        return [
            connection
            for connection in self._connections
            if isinstance(connection, HttpToolsProtocol)
            and (connection.cycle is None or connection.cycle.response_complete)
        ]


def _is_kept(connection: HttpToolsProtocol) -> bool:
    """Whether it rests between two requests, for which there is a limit."""
    return connection.timeout_keep_alive_task is not None
