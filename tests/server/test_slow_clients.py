import asyncio
from dataclasses import dataclass
from typing import Any, cast

import pytest
import uvicorn
from uvicorn.server import ServerState

from service.api.http.edge import EdgeMiddleware
from service.server.connections import ConnectionLimiter
from service.server.http_protocol import HttpProtocol
from service.server.slow_clients import HEADERS_TIMEOUT_S, SlowClientGuard
from tests.support.recording_transport import RecordingTransport


@dataclass
class GuardedConnection:
    """A connection of a server, and the guard that watches it."""

    protocol: HttpProtocol
    transport: RecordingTransport
    guard: SlowClientGuard
    may_respond: asyncio.Event


@pytest.fixture
async def connection() -> GuardedConnection:
    may_respond = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await may_respond.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    state = ServerState()
    config = uvicorn.Config(cast(Any, app), ws="none", lifespan="off", log_config=None)
    config.load()
    limiter = ConnectionLimiter(total=1000, per_network=1000)
    protocol = HttpProtocol(config, state, {}, limiter=limiter, respond=EdgeMiddleware(app).respond_to_error)
    transport = RecordingTransport()
    protocol.connection_made(transport)
    return GuardedConnection(protocol, transport, SlowClientGuard(state.connections), may_respond)


REQUEST = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
PARTIAL_REQUEST = REQUEST[:20]


async def run_application() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_close_slow_with_incomplete_headers_closes_after_the_timeout(
    connection: GuardedConnection,
) -> None:
    connection.protocol.data_received(PARTIAL_REQUEST)
    connection.guard.close_slow(0)
    connection.guard.close_slow(HEADERS_TIMEOUT_S - 0.1)
    assert not connection.transport.is_closed
    connection.guard.close_slow(HEADERS_TIMEOUT_S)
    assert connection.transport.is_closed


async def test_close_slow_during_a_request_leaves_the_connection_open(connection: GuardedConnection) -> None:
    connection.protocol.data_received(REQUEST)
    await run_application()
    for now_s in (0, HEADERS_TIMEOUT_S, 2 * HEADERS_TIMEOUT_S):
        connection.guard.close_slow(now_s)
    connection.guard.close_idle()
    assert not connection.transport.is_closed
    connection.may_respond.set()
    await run_application()
    assert connection.transport.written.startswith(b"HTTP/1.1 204")


async def test_close_slow_between_requests_leaves_the_connection_to_keep_alive(
    connection: GuardedConnection,
) -> None:
    connection.may_respond.set()
    connection.protocol.data_received(REQUEST)
    await run_application()
    connection.guard.close_slow(0)
    connection.guard.close_slow(HEADERS_TIMEOUT_S)
    assert not connection.transport.is_closed
    connection.guard.close_idle()
    assert connection.transport.is_closed


async def test_close_slow_with_an_incomplete_second_request_closes_after_the_timeout(
    connection: GuardedConnection,
) -> None:
    connection.may_respond.set()
    connection.protocol.data_received(REQUEST)
    await run_application()
    connection.protocol.data_received(PARTIAL_REQUEST)
    connection.guard.close_slow(0)
    connection.guard.close_slow(HEADERS_TIMEOUT_S)
    assert connection.transport.is_closed
