"""Request bodies: read within a limit, or rejected where none is taken."""

from typing import Final

from litestar.types import Receive

from service.api.http.errors import BodyTooLarge, MalformedRequest
from service.api.http.headers import HeaderMap
from service.observability.exception_report import ClientDisconnected

_MAX_LENGTH_DIGITS: Final = 15


def declares_body(headers: HeaderMap) -> bool:
    """Return whether the header fields announce a body."""
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers


async def read_body(headers: HeaderMap, receive: Receive, *, limit_bytes: int) -> bytes:
    """Return the whole body of a request.

    Raises:
        BodyTooLarge: it is declared to be, or turns out to be, longer than `limit_bytes`. At most one chunk
            more than that is held in memory.
        ClientDisconnected: the client hung up before the end.

    Source: OWASP ASVS 5.0 4.3.1, 15.2.2.
    """
    declared = headers.get(b"content-length", b"0")
    if len(declared) > _MAX_LENGTH_DIGITS or int(declared) > limit_bytes:
        raise BodyTooLarge
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnected
        body += message.get("body", b"")
        if len(body) > limit_bytes:
            raise BodyTooLarge
        if not message.get("more_body", False):
            return body


async def reject_body(headers: HeaderMap, receive: Receive) -> None:
    """Reject a body where none is taken. An empty one is none; `{}` passes, as some clients always send it.

    Raises:
        MalformedRequest: there is another one.
    """
    if not declares_body(headers):
        return
    try:
        body = await read_body(headers, receive, limit_bytes=2)
    except BodyTooLarge:
        body = None
    if body not in (b"", b"{}"):
        raise MalformedRequest("This operation takes no body.")
