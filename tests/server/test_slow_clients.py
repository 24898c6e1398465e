import asyncio
from dataclasses import dataclass
from typing import Any, cast

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from service.server.slow_clients import HEADERS_WITHIN_S, SlowClientGuard


class Transport(asyncio.Transport):
    """A connection that goes nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


@dataclass
class Place:
    """A connection of a server, and the watch over it."""

    protocol: HttpToolsProtocol
    transport: Transport
    idleness: SlowClientGuard
    release: asyncio.Event


@pytest.fixture
async def place() -> Place:
    release = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await release.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    state = ServerState()
    config = uvicorn.Config(cast(Any, app), http="httptools", ws="none", lifespan="off", log_config=None)
    config.load()
    protocol, transport = HttpToolsProtocol(config, state, {}), Transport()
    protocol.connection_made(transport)
    return Place(protocol, transport, SlowClientGuard(state.connections), release)


REQUEST = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_connection_whose_headers_do_not_end_is_closed_after_their_time(place: Place) -> None:
    place.protocol.data_received(REQUEST[:20])
    place.idleness.close_slow(0)
    place.idleness.close_slow(HEADERS_WITHIN_S - 0.1)
    assert not place.transport.is_closed
    place.idleness.close_slow(HEADERS_WITHIN_S)
    assert place.transport.is_closed


async def test_connection_in_the_middle_of_a_request_is_left_alone(place: Place) -> None:
    place.protocol.data_received(REQUEST)
    await settle()
    for now_s in (0, HEADERS_WITHIN_S, 2 * HEADERS_WITHIN_S):
        place.idleness.close_slow(now_s)
    place.idleness.end_all()
    assert not place.transport.is_closed
    place.release.set()
    await settle()
    assert place.transport.written.startswith(b"HTTP/1.1 204")


async def test_connection_at_rest_between_requests_is_left_to_its_own_limit(place: Place) -> None:
    place.release.set()
    place.protocol.data_received(REQUEST)
    await settle()
    place.idleness.close_slow(0)
    place.idleness.close_slow(HEADERS_WITHIN_S)
    assert not place.transport.is_closed
    place.idleness.end_all()
    assert place.transport.is_closed


async def test_connection_whose_second_request_does_not_end_is_closed_after_its_time(place: Place) -> None:
    place.release.set()
    place.protocol.data_received(REQUEST)
    await settle()
    place.protocol.data_received(REQUEST[:20])
    place.idleness.close_slow(0)
    place.idleness.close_slow(HEADERS_WITHIN_S)
    assert place.transport.is_closed
