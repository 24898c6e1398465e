"""One request and its answer, as they pass through the boundary."""

from collections.abc import Iterable
from typing import Final

from litestar.types import HTTPScope, Message, Receive, ReceiveMessage, Send

from service.api.http.headers import Fields
from service.api.http.problems import MEDIA_TYPE, problem_body, problem_headers, status_of
from service.domain.errors import RollcallError

HeaderFields = tuple[tuple[bytes, bytes], ...]

CLIENT_CLOSED_REQUEST: Final = 499
"""The status recorded for a request that ended without an answer."""

SECURITY_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
"""The header fields of every answer. Source: OWASP ASVS 5.0 3.4.4, 3.4.5, 14.3.2."""

_POLICY: Final = b"content-security-policy"
_DEFAULT_POLICY: Final = (_POLICY, b"default-src 'none'; frame-ancestors 'none'")
_CLOSE: Final = (b"connection", b"close")
_REPLACED: Final = frozenset({b"x-request-id", b"server", *(name for name, _ in SECURITY_HEADERS)})
_TOO_LONG_TO_DISCARD: Final = len(b"1000000")


class RequestResponseCycle:
    """What the boundary knows of one request and its answer.

    `scope`, `receive` and `send` are for the application inside. It sees a HEAD as a GET, and what it answers
    goes out without its body. `headers` are added to whatever is answered.
    """

    __slots__ = (
        "_closes_unread",
        "_is_head",
        "_receive",
        "_send",
        "headers",
        "scope",
        "status",
        "unread",
        "waits",
    )

    def __init__(self, scope: HTTPScope, receive: Receive, send: Send, headers: HeaderFields) -> None:
        self._receive = receive
        self._send = send
        self._is_head = scope["method"] == "HEAD"
        self._closes_unread = False
        if self._is_head:
            scope = scope.copy()
            scope["method"] = "GET"
        self.scope = scope
        self.headers = headers
        self.status = CLIENT_CLOSED_REQUEST
        self.unread = False
        self.waits = False

    @property
    def awaits_body(self) -> bool:
        """Whether the application waits for a part of the body that has not come."""
        return self.waits and self.unread

    @property
    def is_answered(self) -> bool:
        """Whether the answer has begun, and nothing else can be said any more."""
        return self.status != CLIENT_CLOSED_REQUEST

    def expect_body(self, fields: Fields) -> None:
        """Note that a body is to come. One too long to be discarded ends the connection if it is not read."""
        self.unread = True
        self._closes_unread = (
            b"transfer-encoding" in fields
            or b"expect" in fields
            or len(fields[b"content-length"]) >= _TOO_LONG_TO_DISCARD
        )

    async def receive(self) -> ReceiveMessage:
        """Give the next part of the body."""
        self.waits = True
        message = await self._receive()
        self.waits = False
        if message["type"] != "http.request" or not message.get("more_body", False):
            self.unread = False
        return message

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on, with what every answer carries."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = self._complete(message.get("headers", ()))
            message = {"type": "http.response.start", "status": self.status, "headers": headers}
        elif self._is_head and message["type"] == "http.response.body":
            if message.get("more_body", False):
                return
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def answer(self, status: int, headers: HeaderFields, body: bytes = b"") -> None:
        """Answer in place of the application."""
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})

    async def refuse(self, error: RollcallError, *, close: bool = False) -> None:
        """Answer with a problem document; with `close`, the connection ends after it."""
        body = problem_body(error, self.scope["state"]["request_id"])
        headers = (
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", b"%d" % len(body)),
            *problem_headers(error),
            *((_CLOSE,) if close else ()),
        )
        await self.answer(status_of(error), headers, body)

    def _complete(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        complete = [field for field in headers if field[0] not in _REPLACED]
        complete += self.headers
        complete.append((b"x-request-id", self.scope["state"]["request_id"].encode()))
        fields = dict(complete)
        if _POLICY not in fields:
            complete.append(_DEFAULT_POLICY)
        if self.unread and self._closes_unread and b"connection" not in fields:
            complete.append(_CLOSE)
        return [_with_head(field) for field in complete] if b"allow" in fields else complete


def _with_head(field: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """Name HEAD beside GET in `Allow`: the application inside does not know of it."""
    name, value = field
    methods = value.split(b", ")
    if name != b"allow" or b"GET" not in methods or b"HEAD" in methods:
        return field
    return name, b", ".join(sorted([*methods, b"HEAD"]))
