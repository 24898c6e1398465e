"""What stands around the whole application."""

from typing import Final

from litestar.types import HTTPScope, Receive

from service.api.failures import ClientDisconnected
from service.domain.errors import BodyTooLarge

_LONGEST_LENGTH: Final = 15


async def read_body(scope: HTTPScope, receive: Receive, *, limit_bytes: int) -> bytes:
    """Give the whole body of a request.

    Raises:
        BodyTooLarge: it is declared to be, or turns out to be, longer than `limit_bytes`. At most one chunk
            more than that is held in memory.
        ClientDisconnected: the client hung up before the end.

    Source: OWASP ASVS 5.0 4.3.1, 15.2.2.
    """
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if len(declared) > _LONGEST_LENGTH or int(declared) > limit_bytes:
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
