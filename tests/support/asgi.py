"""An ASGI client without a server, and an application for it to ask."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

from service.api.http.edge import EdgeMiddleware

NEVER = timedelta(hours=1)
AT_ONCE = timedelta(milliseconds=1)

Fields = list[tuple[bytes, bytes]]
App = Callable[..., Any]


class AsgiResponse(NamedTuple):
    """A response as the server got it."""

    status: int
    headers: Fields
    body: bytes

    def all(self, name: bytes) -> list[bytes]:
        """Return every value of a header field."""
        return [value for field, value in self.headers if field == name]

    def one(self, name: bytes) -> bytes:
        """Return the value of a header field that is there once."""
        (value,) = self.all(name)
        return value

    @property
    def problem(self) -> dict[str, Any]:
        """The problem document, checked against status and header."""
        problem: dict[str, Any] = json.loads(self.body)
        assert self.one(b"content-type") == b"application/problem+json"
        assert int(self.one(b"content-length")) == len(self.body)
        assert problem["status"] == self.status
        assert problem["instance"] == f"urn:uuid:{self.one(b'x-request-id').decode()}"
        return problem


def scope_of(method: str = "GET", target: str = "/things", headers: Fields | None = None) -> dict[str, Any]:
    """Return the scope of a request as the server makes it."""
    path, _, query = target.partition("?")
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "headers": [(b"host", b"rollcall.test"), *(headers or [])],
        "client": ("198.51.100.7", 4711),
    }


async def send_request(
    app: App, scope: dict[str, Any], parts: list[bytes] | None = None
) -> AsgiResponse | None:
    """Send a request with its body in parts, then nothing more. Return None if there was no response."""
    sent: list[Any] = []
    waiting = list(parts or [])

    async def receive() -> dict[str, Any]:
        if not waiting:
            await asyncio.Event().wait()
        part = waiting.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(waiting)}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    if not sent:
        return None
    assert [message["type"] for message in sent[:2]] == ["http.response.start", "http.response.body"]
    assert len([message for message in sent if message["type"] == "http.response.start"]) == 1
    assert all(message["more_body"] for message in sent[1:-1])
    body = b"".join(message["body"] for message in sent[1:])
    return AsgiResponse(sent[0]["status"], list(sent[0]["headers"]), body)


async def ask(app: App, *args: Any, parts: list[bytes] | None = None, **fields: Any) -> AsgiResponse:
    """Send a request that gets a response."""
    response = await send_request(app, scope_of(*args, **fields), parts)
    assert response is not None
    return response


class Inner:
    """An application that responds 200 and keeps the scopes of its requests."""

    def __init__(self, *headers: tuple[bytes, bytes]) -> None:
        self.headers = [(b"content-type", b"application/json"), (b"content-length", b"7"), *headers]
        self.scopes: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Respond in two parts."""
        self.scopes.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        await send({"type": "http.response.body", "body": b'{"a"', "more_body": True})
        await send({"type": "http.response.body", "body": b":1}", "more_body": False})


def around(app: App, **options: Any) -> EdgeMiddleware:
    """Wrap an application, without time limits unless given."""
    return EdgeMiddleware(app, **({"request_timeout": NEVER, "body_timeout": NEVER} | options))
