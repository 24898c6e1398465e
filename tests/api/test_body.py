"""Bodies are read within a limit; an unread one may close the connection."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.api.http.body import read_body
from service.api.http.errors import BodyTooLarge
from service.observability.exception_report import ClientDisconnected
from tests.support.asgi import Fields, Inner, around, ask


async def reading(scope: Any, receive: Any, send: Any) -> None:
    await read_body(scope["state"]["fields"], receive, limit_bytes=10)
    await Inner()(scope, receive, send)


@pytest.mark.parametrize(
    ("headers", "closes"),
    [
        ([(b"content-length", b"11")], False),
        ([(b"content-length", b"1000000")], True),
        ([(b"transfer-encoding", b"chunked")], True),
        ([(b"content-length", b"11"), (b"expect", b"100-continue")], True),
    ],
)
async def test_leave_body_unread_closes_the_connection_if_it_is_too_large_to_drain(
    headers: Fields, closes: bool
) -> None:
    response = await ask(around(reading), "POST", headers=headers, parts=[b"x" * 11, b"x"])

    assert response.problem["code"] == "body_too_large"
    assert response.all(b"connection") == ([b"close"] if closes else [])


async def test_read_chunked_body_keeps_the_connection() -> None:
    response = await ask(
        around(reading), "POST", headers=[(b"transfer-encoding", b"chunked")], parts=[b"x", b"y"]
    )

    assert (response.status, response.all(b"connection")) == (200, [])


def parts_of(*parts: bytes) -> Any:
    stream: AsyncIterator[dict[str, Any]] = (
        {"type": "http.request", "body": part, "more_body": number < len(parts)}
        async for number, part in _counted(parts)
    )
    return stream.__anext__


async def _counted(parts: tuple[bytes, ...]) -> AsyncIterator[tuple[int, bytes]]:
    for number, part in enumerate(parts, 1):
        yield number, part
    yield 0, b"never asked for"


async def read(headers: Fields, *parts: bytes) -> bytes:
    return await read_body(dict(headers), parts_of(*parts), limit_bytes=10)


async def test_read_body_within_the_limit_returns_it() -> None:
    assert await read([(b"content-length", b"10")], b"01234", b"56789") == b"0123456789"
    assert await read([], b"0123456789") == b"0123456789"
    assert await read([], b"") == b""


@pytest.mark.parametrize("declared", [b"11", b"9" * 15, b"9" * 5000])
async def test_read_body_declared_too_long_is_rejected_before_reading(declared: bytes) -> None:
    async def receive() -> Any:
        pytest.fail("The body was read.")

    with pytest.raises(BodyTooLarge):
        await read_body({b"content-length": declared}, receive, limit_bytes=10)


async def test_read_body_without_length_is_rejected_at_the_limit() -> None:
    with pytest.raises(BodyTooLarge):
        await read([], b"0123456789", b"0", b"never asked for")


async def test_read_body_of_disconnected_client_raises() -> None:
    async def receive() -> Any:
        return {"type": "http.disconnect"}

    with pytest.raises(ClientDisconnected):
        await read_body({}, receive, limit_bytes=10)
