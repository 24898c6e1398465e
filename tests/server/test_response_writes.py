"""In how many parts a response leaves."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
import uvicorn
from uvicorn.server import ServerState

from service.api.http.edge import EdgeMiddleware
from service.server.connections import ConnectionLimiter
from service.server.http_protocol import HttpProtocol
from tests.support.recording_transport import RecordingTransport

HEAD = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]}
BODY = {"type": "http.response.body", "body": b"abcd"}
FIRST, SECOND = {**BODY, "body": b"ab", "more_body": True}, {**BODY, "body": b"cd"}
EMPTY = ({**HEAD, "headers": [(b"content-length", b"0")]}, {"type": "http.response.body"})
GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"

Responder = Callable[..., list[bytes]]


class Steps:
    """An application that sends messages, each once it may, and raises an error where one stands."""

    def __init__(self, *messages: Any) -> None:
        self.messages = messages
        self.may_go_on = asyncio.Semaphore(0)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send the messages."""
        for message in self.messages:
            await self.may_go_on.acquire()
            if isinstance(message, Exception):
                raise message
            if message == "receive":
                await receive()
            else:
                await send(message)

    async def go_on(self) -> None:
        """Let the application do its next step."""
        self.may_go_on.release()
        for _ in range(5):
            await asyncio.sleep(0)


def serve(app: Steps, request: bytes) -> tuple[HttpProtocol, RecordingTransport]:
    config = uvicorn.Config(cast(Any, app), ws="none", lifespan="off", log_config=None)
    config.load()
    protocol = HttpProtocol(
        config,
        ServerState(),
        {},
        limiter=ConnectionLimiter(total=10, per_network=10),
        respond=EdgeMiddleware(app).respond_to_error,
    )
    transport = RecordingTransport()
    protocol.connection_made(transport)
    protocol.data_received(request)
    return protocol, transport


async def test_respond_with_a_body_writes_the_header_with_it() -> None:
    app = Steps(HEAD, BODY)
    _, transport = serve(app, GET)
    await app.go_on()
    assert transport.writes == []
    await app.go_on()
    assert len(transport.writes) == 1
    assert transport.written.startswith(b"HTTP/1.1 200 OK\r\n")
    assert transport.written.endswith(b"\r\n\r\nabcd")


@pytest.mark.parametrize(
    ("request_", "messages"),
    [(GET.replace(b"GET", b"HEAD"), (HEAD, BODY)), (GET, EMPTY)],
    ids=["HEAD", "no body"],
)
async def test_respond_without_a_body_writes_the_header(request_: bytes, messages: Any) -> None:
    app = Steps(*messages)
    _, transport = serve(app, request_)
    await app.go_on()
    await app.go_on()
    assert transport.written.endswith(b"\r\n\r\n")
    assert not transport.is_closed


async def test_respond_in_parts_writes_each_as_it_comes() -> None:
    app = Steps(HEAD, FIRST, SECOND)
    _, transport = serve(app, GET)
    await app.go_on()
    await app.go_on()
    assert transport.written.endswith(b"\r\n\r\nab")
    await app.go_on()
    assert transport.writes[1:] == [b"cd"]


async def test_respond_and_close_writes_everything_before() -> None:
    app = Steps(HEAD, BODY)
    _, transport = serve(app, GET.replace(b"here", b"here\r\nConnection: close"))
    await app.go_on()
    await app.go_on()
    assert transport.written.endswith(b"abcd")
    assert transport.is_closed


async def test_fail_behind_the_header_writes_it_and_closes() -> None:
    app = Steps(HEAD, RuntimeError("fails"))
    _, transport = serve(app, GET)
    await app.go_on()
    await app.go_on()
    assert transport.written.endswith(b"content-length: 4\r\n\r\n")
    assert transport.is_closed


async def test_send_a_malformed_body_behind_the_header_writes_the_rest_and_closes() -> None:
    app = Steps(HEAD, BODY)
    protocol, transport = serve(app, b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n")
    await app.go_on()
    protocol.data_received(b"no length\r\n")
    await app.go_on()
    assert transport.written.endswith(b"content-length: 4\r\n\r\nabcd")
    assert transport.has_ended


async def test_ask_for_a_body_invites_it_at_once() -> None:
    app = Steps("receive", HEAD, BODY)
    protocol, transport = serve(
        app, b"POST / HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
    )
    await app.go_on()
    assert transport.writes == [b"HTTP/1.1 100 Continue\r\n\r\n"]
    protocol.data_received(b"x")
    await app.go_on()
    await app.go_on()
    assert transport.written.endswith(b"abcd")
