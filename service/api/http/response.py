"""The one response class of the service."""

from typing import Final

import msgspec
from litestar.types import Send

HeaderFields = tuple[tuple[bytes, bytes], ...]

JSON: Final = b"application/json"


class Response(msgspec.Struct, frozen=True):
    """A complete response.

    `headers` have lower-case names. `Content-Type` and `Content-Length` are not among them: both follow from
    the body, and are absent without one.
    """

    status: int
    body: bytes | None = None
    headers: HeaderFields = ()
    media_type: bytes = JSON

    async def send(self, send: Send) -> None:
        """Send the response in two ASGI messages."""
        headers = self.headers
        if self.body is not None:
            headers += (
                (b"content-type", self.media_type),
                (b"content-length", b"%d" % len(self.body)),
            )
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body or b"", "more_body": False})
