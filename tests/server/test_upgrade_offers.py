"""Offers to upgrade are declined, and the request is served with its body."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from service.server.http_protocol import MAX_QUEUED_REQUESTS
from tests.support.echo_server import (
    CHUNKED,
    CLOSE,
    GET,
    HOST,
    LAST,
    POST,
    EdgeServer,
    echoes,
    exchange,
    serving_echo,
    statuses,
)

OFFERS = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIA\r\n",
    "websocket": b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    "TLS": b"Upgrade: TLS/1.2, HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\n",
}


@pytest.fixture
async def server() -> AsyncIterator[EdgeServer]:
    async with serving_echo() as echo:
        yield echo


def split(request: bytes) -> dict[str, tuple[bytes, ...]]:
    """Return a request in one segment, in two, and byte by byte around the end of its header."""
    end = request.index(b"\r\n\r\n") + 4
    return {
        "one segment": (request,),
        "two segments": (request[:end], request[end:]),
        "split header": (request[:10], request[10 : end - 2], request[end - 2 : end + 1], request[end + 1 :]),
    }


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("segments", split(LAST))
@pytest.mark.parametrize(
    "framed", [b"Content-Length: 5\r\n\r\nhello", CHUNKED + b"\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"]
)
async def test_offer_an_upgrade_serves_the_request_with_its_body(
    server: EdgeServer, offer: str, segments: str, framed: bytes
) -> None:
    request = POST + OFFERS[offer] + framed + LAST

    answer = await exchange(server, *split(request)[segments])

    assert echoes(answer) == [["POST", "/b", "hello"], ["GET", "/last", ""]]
    assert not {b"upgrade", b"http2-settings"} & {name for name, _ in server.app.scopes[0]["headers"]}
    assert b" 101 " not in answer.split(b"\r\n")[0]


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("segments", split(LAST))
async def test_hide_a_request_in_the_body_of_an_offer_is_not_served(
    server: EdgeServer, offer: str, segments: str
) -> None:
    hidden = b"GET /hidden HTTP/1.1\r\n" + HOST + b"\r\n"
    request = POST + OFFERS[offer] + b"Content-Length: %d\r\n\r\n" % len(hidden) + hidden + LAST

    answer = await exchange(server, *split(request)[segments])

    assert echoes(answer) == [["POST", "/b", hidden.decode()], ["GET", "/last", ""]]


async def test_send_requests_split_anywhere_gets_the_same_responses(server: EdgeServer) -> None:
    chunked = CHUNKED + b"\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nX-A: b\r\n\r\n"
    sent = GET + OFFERS["TLS"] + b"\r\n" + POST + OFFERS["h2c"] + chunked + LAST
    answers = [["GET", "/a", ""], ["POST", "/b", "hello"], ["GET", "/last", ""]]

    for start in range(1, len(sent), 50):
        cuts = range(start, min(start + 50, len(sent)))
        got = await asyncio.gather(*(exchange(server, sent[:cut], sent[cut:]) for cut in cuts))
        assert [echoes(answer) for answer in got] == [answers] * len(cuts)


async def test_offer_upgrades_in_pipelined_requests_serves_all_in_order(server: EdgeServer) -> None:
    body = b"Content-Length: 1\r\n\r\n"
    requests = [POST + offer + body + b"%d" % number for number, offer in enumerate(OFFERS.values())]

    answer = await exchange(server, b"".join(requests) + GET + CLOSE + OFFERS["TLS"] + b"\r\n")

    assert echoes(answer) == [
        ["POST", "/b", "0"],
        ["POST", "/b", "1"],
        ["POST", "/b", "2"],
        ["GET", "/a", ""],
    ]


async def test_offer_upgrades_in_too_many_pipelined_requests_responds_some_and_closes(
    server: EdgeServer,
) -> None:
    server.app.may_respond.clear()
    exchanging = asyncio.create_task(exchange(server, (GET + OFFERS["TLS"] + b"\r\n") * 50))
    await server.until(lambda: len(server.app.scopes) == 1)
    server.app.may_respond.set()

    assert statuses(await exchanging) == [200] * (1 + MAX_QUEUED_REQUESTS) + [503]


@pytest.mark.parametrize("target", [b"here:443", b"/a", b"http://here/a"])
async def test_send_connect_is_rejected(server: EdgeServer, target: bytes) -> None:
    answer = await exchange(server, b"CONNECT " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n" + LAST)

    assert statuses(answer) == [400]
    assert server.app.scopes == []
