"""One request and its response, on their way between the server and the application."""

from collections.abc import Iterable
from typing import Final

from litestar.types import HTTPScope, Message, Receive, ReceiveMessage, Send

from service.api.http.headers import HeaderMap
from service.api.http.response import HeaderFields

CLIENT_CLOSED_REQUEST: Final = 499
"""The status recorded for a request that ended without a response."""

SECURITY_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
"""Header fields of every response. Source: OWASP ASVS 5.0 3.4.4, 3.4.5, 14.3.2."""

CLOSE: Final = ((b"connection", b"close"),)

BODY_ERROR: Final = "body_error"
"""Name in the state of a scope: the error of a body whose framing turned out to be malformed."""

_POLICY: Final = b"content-security-policy"
_DEFAULT_POLICY: Final = (
    _POLICY,
    b"default-src 'none'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
)
_REPLACED: Final = frozenset({b"x-request-id", b"server", *(name for name, _ in SECURITY_HEADERS)})
_UNDRAINABLE_DIGITS: Final = len(b"1000000")


class RequestResponseCycle:
    """The state of one request and its response.

    `scope`, `receive` and `send` are for the application. It sees HEAD as GET; the body of its response is
    dropped then. `headers` are added to every response.
    """

    __slots__ = (
        "_closes_if_unread",
        "_is_head",
        "_receive",
        "_send",
        "has_unread_body",
        "headers",
        "is_receiving",
        "scope",
        "status",
    )

    def __init__(self, scope: HTTPScope, receive: Receive, send: Send, headers: HeaderFields) -> None:
        self._receive = receive
        self._send = send
        self._is_head = scope["method"] == "HEAD"
        self._closes_if_unread = False
        if self._is_head:
            scope = scope.copy()
            scope["method"] = "GET"
        self.scope = scope
        self.headers = headers
        self.status = CLIENT_CLOSED_REQUEST
        self.has_unread_body = False
        self.is_receiving = False

    @property
    def has_started(self) -> bool:
        """Whether the response has begun, so that no other one can be sent."""
        return self.status != CLIENT_CLOSED_REQUEST

    def expect_body(self, headers: HeaderMap) -> None:
        """Record that a body follows. If it stays unread and is too large to drain, the connection closes."""
        self.has_unread_body = True
        self._closes_if_unread = (
            b"transfer-encoding" in headers
            or b"expect" in headers
            or len(headers[b"content-length"]) >= _UNDRAINABLE_DIGITS
        )

    async def receive(self) -> ReceiveMessage:
        """Return the next part of the body.

        Raises:
            TransportError: its framing is malformed, or its trailers are too large.
        """
        self.is_receiving = True
        message = await self._receive()
        self.is_receiving = False
        if (error := self.scope["state"].get(BODY_ERROR)) is not None:
            raise error
        if message["type"] != "http.request" or not message.get("more_body", False):
            self.has_unread_body = False
        return message

    async def send(self, message: Message) -> None:
        """Pass a part of the response on, with the header fields of every response."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = self._complete(message.get("headers", ()))
            message = {"type": "http.response.start", "status": self.status, "headers": headers}
        elif self._is_head and message["type"] == "http.response.body":
            if message.get("more_body", False):
                return
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    def _complete(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        complete = [field for field in headers if field[0] not in _REPLACED]
        complete += self.headers
        complete.append((b"x-request-id", self.scope["state"]["request_id"].encode()))
        names = dict(complete)
        if _POLICY not in names:
            complete.append(_DEFAULT_POLICY)
        if self.has_unread_body and self._closes_if_unread and b"connection" not in names:
            complete += CLOSE
        return complete
