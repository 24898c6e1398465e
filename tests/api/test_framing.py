"""What is wrong on the wire itself, told to a real server on a real socket."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.api import Api, RunningService
from tests.support.servers import listening

BODY = b'{"login_id":"ada","password":"x"}'
JSON = b"Content-Type: application/json\r\n"
HOST = b"Host: rollcall.test\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CLOSE = b"Connection: close\r\n\r\n"
POST = b"POST /v1/sessions HTTP/1.1\r\n"
GET = b"GET /health/live HTTP/1.1\r\n"
LAST = GET + HOST + CLOSE


@pytest_asyncio.fixture(scope="module")
async def address(running: RunningService) -> AsyncIterator[tuple[str, int]]:
    """Where a server of its own serves the application; the configuration is that of `serve`."""
    async with listening(running) as server:
        yield server.address


async def tell(address: tuple[str, int], *parts: bytes, ends: bool = False) -> list[int]:
    """Send bytes, and give the status of every answer until the server closes the connection."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if ends:
            writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:
        answer = b""
    finally:
        writer.close()
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


FRAMING: dict[str, bytes] = {
    "length and chunked": POST + HOST + JSON + CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": POST + HOST + JSON + b"Content-Length: 33\r\nContent-Length: 34\r\n\r\n" + BODY,
    "equal lengths": POST + HOST + JSON + b"Content-Length: 33\r\nContent-Length: 33\r\n\r\n" + BODY,
    "length +16": POST + HOST + JSON + b"Content-Length: +16\r\n\r\n" + BODY,
    "length -1": POST + HOST + JSON + b"Content-Length: -1\r\n\r\n" + BODY,
    "length 0x10": POST + HOST + JSON + b"Content-Length: 0x10\r\n\r\n" + BODY,
    "unknown coding": POST + HOST + JSON + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "gzip coding": POST + HOST + JSON + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "bad chunk": POST + HOST + JSON + CHUNKED + b"\r\nzz\r\n{}\r\n0\r\n\r\n",
    "space before colon": GET + HOST + b"Authorization : x\r\n\r\n",
    "folded header": GET + HOST + b"X-A: a\r\n b\r\n\r\n",
    "two hosts": GET + HOST + HOST + b"\r\n",
    "no host": GET + b"\r\n",
    "empty host": GET + b"Host:\r\n\r\n",
    "host with path": GET + b"Host: a/b\r\n\r\n",
    "NUL in a header": GET + HOST + b"X-A: a\x00b\r\n\r\n",
    "http/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no request": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "unknown method without a target": b"BREW HTTP/1.1\r\n" + HOST + b"\r\n",
}  # fmt: skip
TOO_LARGE: dict[str, bytes] = {
    "200 KB of header": GET + HOST + b"X-A: " + b"a" * 200_000 + b"\r\n\r\n",
    "200 KB of target": b"GET /v1/users?q=" + b"a" * 200_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "17 KB of target": b"GET /v1/users?q=" + b"a" * 17_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "5000 headers": GET + HOST + b"X-A: a\r\n" * 5000 + b"\r\n",
    "101 headers": GET + HOST + b"X-A: a\r\n" * 100 + b"\r\n",
    "200 KB of empty lines": b"\r\n" * 100_000,
    "200 KB of trailers": POST + HOST + JSON + CHUNKED + b"\r\n0\r\nX-A: " + b"a" * 200_000 + b"\r\n\r\n",
    "200 KB of chunk extension": POST + HOST + JSON + CHUNKED + b"\r\n1;" + b"a" * 200_000 + b"\r\n \r\n",
}  # fmt: skip


@pytest.mark.parametrize("what", FRAMING)
async def test_send_bad_framing_is_rejected_and_nothing_follows(address: tuple[str, int], what: str) -> None:

    statuses = await tell(address, FRAMING[what] + LAST)

    assert statuses == [400]
    assert await tell(address, LAST) == [200]


@pytest.mark.parametrize("method", [b"BREW", b"get", b"GETX", b"X-Y", b"PLAY"])
async def test_send_an_unknown_method_is_501_and_nothing_follows(
    address: tuple[str, int], method: bytes
) -> None:
    """Source: RFC 9110 9.1, 15.6.2."""
    request = method + b" /health/live HTTP/1.1\r\n" + HOST + b"\r\n"

    assert await tell(address, request + LAST) == [501]
    assert await tell(address, b"\r\n" + request + LAST) == [501]
    assert await tell(address, GET + HOST + b"\r\n" + b"X : y\r\n\r\n" + LAST) == [200, 400]


@pytest.mark.parametrize("what", TOO_LARGE)
async def test_send_too_large_a_header_is_rejected_and_nothing_follows(
    address: tuple[str, int], what: str
) -> None:
    assert await tell(address, TOO_LARGE[what] + LAST) == [431]


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"http://rollcall.test/v1/users", 401),
        (b"HTTPS://ROLLCALL.TEST/v1/users", 401),
        (b"http://other.test/v1/users", 400),
        (b"http://rollcall.test:80/v1/users", 400),
        (b"http://x@rollcall.test/v1/users", 400),
        (b"http://rollcall.test", 400),
        (b"http://rollcall.test/v1/users#x", 400),
        (b"/v1/users#x", 400),
        (b"/v1/users\xff", 400),
        (b"http://rollcall.test/v1/users\xff", 400),
        (b"/v1/users?q=#x", 400),
        (b" /v1/users", 400),
        (b"  /v1/users", 400),
        (b"*", 400),
        (b"v1/users", 400),
    ],
)
async def test_send_another_form_of_target_is_rejected_unless_it_names_this_host(
    address: tuple[str, int], target: bytes, status: int
) -> None:
    request = b"GET " + target + b" HTTP/1.1\r\n" + HOST

    assert await tell(address, request + CLOSE) == [status]
    assert await tell(address, GET + HOST + b"\r\n" + request + CLOSE) == [200, status]


async def test_send_http_1_0_without_host_is_served_and_closed(address: tuple[str, int]) -> None:
    assert await tell(address, b"GET /health/live HTTP/1.0\r\n\r\n") == [200]


@pytest.mark.parametrize(
    "target", [b"/%2Fhealth/live", b"//health/live", b"/health/live/", b"/health/x/../live", b"/health\\live"]
)
async def test_send_another_spelling_of_a_path_never_reaches_it(
    address: tuple[str, int], target: bytes
) -> None:
    (status,) = await tell(address, b"GET " + target + b" HTTP/1.1\r\n" + HOST + CLOSE)

    assert status in (400, 404)


@pytest.mark.parametrize(
    ("length", "status"), [(b"65537", 413), (b"11534336", 413), (b"1000000000000", 413), (b"9" * 30, 400)]
)
async def test_declare_too_long_a_body_is_rejected_before_it_comes(
    address: tuple[str, int], api: Api, length: bytes, status: int
) -> None:
    header = POST + HOST + JSON + b"Content-Length: " + length + b"\r\n\r\n"

    assert await tell(address, header, ends=len(length) < 7) == [status]


async def test_send_chunks_without_end_is_rejected_at_the_limit(address: tuple[str, int], api: Api) -> None:
    chunk = b"1000\r\n" + b" " * 0x1000 + b"\r\n"

    statuses = await tell(address, POST + HOST + JSON + CHUNKED + b"\r\n", *[chunk] * 16)

    assert statuses == [413]


async def test_send_two_requests_on_one_connection_are_served_in_order(
    address: tuple[str, int], api: Api
) -> None:
    good = POST + HOST + JSON + b"Content-Length: 33\r\n\r\n" + BODY

    assert await tell(address, good + LAST) == [401, 200]
