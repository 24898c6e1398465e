"""What one connection may make the server hold, and what it may make it believe, on a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from service.server.http_protocol import MAX_QUEUED_REQUESTS
from tests.support.echo_server import (
    CHUNKED,
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


@pytest.fixture
async def server() -> AsyncIterator[EdgeServer]:
    async with serving_echo() as echo:
        yield echo


@pytest.mark.parametrize("segments", [1, 2])
async def test_send_trailers_drops_them(server: EdgeServer, segments: int) -> None:
    head = POST + CHUNKED + b"\r\n5\r\nhello\r\n"
    trailers = b"0\r\nAuthorization: x\r\nX-Forwarded-For: 192.0.2.1\r\nHost: other\r\n\r\n"

    answer = await exchange(server, *((head + trailers + LAST,) if segments == 1 else (head, trailers, LAST)))

    assert echoes(answer) == [["POST", "/b", "hello"], ["GET", "/last", ""]]
    for scope in server.app.scopes:
        assert isinstance(scope["headers"], tuple)
        assert {name for name, _ in scope["headers"]} <= {b"host", b"transfer-encoding", b"connection"}


@pytest.mark.parametrize("separator", [b"  ", b"   "])
@pytest.mark.parametrize("segments", ["whole", "bytes", "after the method"])
@pytest.mark.parametrize("before", [b"", GET + b"\r\n", POST + b"Content-Length: 7\r\n\r\nGET  /x"])
async def test_send_two_spaces_before_the_target_is_rejected(
    server: EdgeServer, separator: bytes, segments: str, before: bytes
) -> None:
    request = b"GET" + separator + b"/twice HTTP/1.1\r\n" + HOST + b"\r\n"
    parts = {"whole": (request,), "bytes": (*(bytes([byte]) for byte in request[:8]), request[8:])}
    parts["after the method"] = (request[:3], request[3:])

    answer = await exchange(server, *((before, *parts[segments]) if before else parts[segments]))
    joined = await exchange(server, before + request)

    assert statuses(answer) == statuses(joined) == ([200, 400] if before else [400])
    assert all(scope["path"] != "/twice" for scope in server.app.scopes)


async def test_send_two_spaces_elsewhere_is_accepted(server: EdgeServer) -> None:
    body = b"GET  /x HTTP/1.1  POST  /y"
    fields = b"X-A: GET  /x\r\nContent-Length: %d\r\n\r\n" % len(body)

    answer = await exchange(server, POST + fields + body + LAST)

    assert echoes(answer) == [["POST", "/b", body.decode()], ["GET", "/last", ""]]


async def test_pipeline_requests_queues_few_and_reads_no_more(server: EdgeServer) -> None:
    server.app.may_respond.clear()
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write((GET + b"X-Fill: " + b"x" * 2000 + b"\r\n\r\n") * 400)

    await server.until(lambda: bool(server.protocols) and len(server.protocols[0].pipeline) > 5)
    (protocol,) = server.protocols
    await asyncio.sleep(0.05)

    assert len(protocol.pipeline) <= MAX_QUEUED_REQUESTS
    assert len(server.app.scopes) == 1
    assert protocol.flow.read_paused
    server.app.may_respond.set()
    answered = b""
    while answered.count(b"HTTP/1.1 200") < 400 and not reader.at_eof():
        answered += await asyncio.wait_for(reader.read(65536), 10)
    writer.close()
    assert len(server.app.scopes) == 400


async def test_pipeline_requests_while_bodies_are_read_keeps_reading_paused(server: EdgeServer) -> None:
    server.app.may_respond.clear()
    reader, writer = await asyncio.open_connection(*server.address)
    post = POST + b"Content-Length: 3000\r\n\r\n" + b"x" * 3000
    writer.write(post * 200)
    queued = []

    await server.until(lambda: bool(server.protocols) and bool(server.protocols[0].pipeline))
    server.app.may_respond.set()
    answered = b""
    while answered.count(b"HTTP/1.1 200") < 200 and not reader.at_eof():
        answered += await asyncio.wait_for(reader.read(65536), 10)
        queued += [len(protocol.pipeline) for protocol in server.protocols]
    writer.close()

    assert statuses(answered) == [200] * 200
    assert max(queued) <= MAX_QUEUED_REQUESTS


async def test_pipeline_too_many_small_requests_responds_some_and_closes(server: EdgeServer) -> None:
    server.app.may_respond.clear()
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write((b"GET / HTTP/1.1\r\n" + HOST + b"\r\n") * 1000)
    await server.until(lambda: bool(server.protocols) and len(server.protocols[0].pipeline) > 5)
    server.app.may_respond.set()

    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()

    assert statuses(answer) == [200] * (1 + MAX_QUEUED_REQUESTS) + [503]
    assert answer.count(b"\r\nretry-after: 1\r\n") == 1


async def test_send_a_malformed_request_behind_another_responds_in_order(server: EdgeServer) -> None:
    server.app.may_respond.clear()
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(GET + b"\r\n" + GET + b"\r\nX : y\r\n\r\n" + LAST)
    await server.until(lambda: len(server.app.scopes) == 1)
    server.app.may_respond.set()

    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()

    assert statuses(answer) == [200, 200, 400]


async def test_send_a_malformed_body_gets_one_response_and_reaches_no_application_whole(
    server: EdgeServer,
) -> None:
    answer = await exchange(server, POST + CHUNKED + b"\r\n2\r\n{}\r\nzz\r\n" + LAST)

    assert statuses(answer) == [400]
    assert echoes(answer) == []
    assert [(record.method, record.status) for record in server.records] == [("POST", 400)]


@pytest.mark.parametrize(
    ("what", "status", "code"),
    [
        (b"GET /a HTTP/1.1\r\nX : y\r\n\r\n", 400, "malformed_request"),
        (GET + b"X: " + b"x" * 60_000, 431, "header_too_large"),
        (GET + b"X: y\r\n" * 20_000, 431, "header_too_large"),
    ],
)
async def test_reject_a_request_responds_with_a_problem_and_records_the_network(
    server: EdgeServer, what: bytes, status: int, code: str
) -> None:
    answer = await exchange(server, what)

    head, _, body = answer.partition(b"\r\n\r\n")
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    problem = json.loads(body)
    assert fields[b"content-type"] == b"application/problem+json"
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["instance"] == f"urn:uuid:{fields[b'x-request-id'].decode()}"
    assert fields[b"cache-control"] == b"no-store"
    assert fields[b"x-content-type-options"] == b"nosniff"
    assert fields[b"content-security-policy"].startswith(b"default-src 'none'")
    assert fields[b"connection"] == b"close"
    (record,) = server.records
    assert (record.status, record.route, record.network) == (status, None, "127.0.0.1/32")
    assert record.request_id == fields[b"x-request-id"].decode()


async def test_send_a_rejected_request_on_and_on_still_gets_the_response(server: EdgeServer) -> None:
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(GET + b"X: ")
    for _ in range(64):
        writer.write(b"x" * 65536)
        await asyncio.sleep(0)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()

    assert statuses(answer) == [431]
