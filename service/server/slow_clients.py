"""Close connections that send no complete request, which the HTTP server would keep.

uvicorn limits the pause between two requests, but not how long a request line and its headers may take to
arrive. At shutdown it closes idle connections once, then waits for those accepted at that moment.
"""

from collections.abc import Collection
from typing import Final

from service.server.http_protocol import HttpProtocol

HEADERS_TIMEOUT_S: Final = 10.0
CHECK_INTERVAL_S: Final = 0.5


class SlowClientGuard:
    """Watches the open connections of a server and closes those whose next request does not arrive.

    A connection beyond the limits is not waited for.
    """

    def __init__(self, connections: Collection[object]) -> None:
        self._connections = connections
        self._since: dict[tuple[HttpProtocol, object], float] = {}

    def close_slow(self, now_s: float) -> None:
        """Close connections whose request is incomplete, or not begun, for `HEADERS_TIMEOUT_S`.

        Source: OWASP ASVS 5.0 15.2.2 (no client may hold what others need).
        """
        waiting = [connection for connection in self._idle() if not connection.is_between_requests]
        slow = [(connection, connection.cycle) for connection in waiting]
        self._since = {key: self._since.get(key, now_s) for key in slow}
        for (connection, _), since_s in self._since.items():
            if connection.is_excess or now_s - since_s >= HEADERS_TIMEOUT_S:
                connection.shutdown()

    def close_idle(self) -> None:
        """Close every connection without a request in progress."""
        for connection in self._idle():
            connection.shutdown()

    def _idle(self) -> list[HttpProtocol]:
        return [each for each in self._connections if isinstance(each, HttpProtocol) and each.is_idle]
