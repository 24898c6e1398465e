"""Requests with ambiguous framing or an invalid host are rejected before routing."""

import pytest

from service.api.http.edge import EdgeMiddleware
from tests.support.asgi import Fields, Inner, ask, scope_of, send_request


@pytest.mark.parametrize(
    "host", [b"rollcall.test", b"a_b.test:65535", b"127.0.0.1:1", b"[::1]", b"[::1]:80", b"a.test:"]
)
async def test_send_valid_host_is_accepted(edge: EdgeMiddleware, host: bytes) -> None:
    scope = scope_of() | {"headers": [(b"host", host)]}

    response = await send_request(edge, scope)

    assert response is not None
    assert response.status == 200


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"a b",
        b"a/login?",
        b"x#",
        b"x:port",
        b"x:123456",
        b"user@x",
        b"x\xff",
        b"[::1",
        b"a,b",
        b"x" * 254,
    ],
)
async def test_send_invalid_host_is_rejected(edge: EdgeMiddleware, inner: Inner, host: bytes) -> None:
    response = await send_request(edge, scope_of() | {"headers": [(b"host", host)]})

    assert response is not None
    assert response.problem["code"] == "malformed_request"
    assert inner.scopes == []


async def test_send_no_host_is_rejected_except_from_http_1_0(edge: EdgeMiddleware) -> None:
    modern = await send_request(edge, scope_of() | {"headers": []})
    old = await send_request(edge, scope_of() | {"headers": [], "http_version": "1.0"})

    assert modern is not None
    assert old is not None
    assert (modern.status, old.status) == (400, 200)


@pytest.mark.parametrize(
    "headers",
    [
        [(b"host", b"other.test")],
        [(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")],
        [(b"content-type", b"application/json"), (b"content-type", b"text/plain")],
        [(b"content-length", b"1"), (b"content-length", b"1")],
        [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")],
        [(b"content-length", b"+1")],
        [(b"content-length", b"-1")],
        [(b"content-length", b"1, 1")],
        [(b"content-length", b"")],
        [(b"transfer-encoding", b"xchunked")],
        [(b"transfer-encoding", b"gzip, chunked")],
        [(b"idempotency-key", b"a"), (b"idempotency-key", b"b")],
    ],
)
async def test_send_ambiguous_framing_is_rejected_and_closes_the_connection(
    edge: EdgeMiddleware, inner: Inner, headers: Fields
) -> None:
    response = await ask(edge, headers=headers)

    assert (response.status, response.problem["code"]) == (400, "malformed_request")
    assert response.one(b"connection") == b"close"
    assert inner.scopes == []


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/things", [(b"x-filler", b"x" * 16 * 1024)]),
        ("/things", [(b"x-filler-%d" % number, b"") for number in range(100)]),
        ("/things?" + "x" * 16 * 1024, []),
        ("/" + "x" * 16 * 1024, []),
    ],
)
async def test_send_too_large_a_header_is_rejected_and_closes_the_connection(
    edge: EdgeMiddleware, inner: Inner, target: str, headers: Fields
) -> None:
    response = await ask(edge, "GET", target, headers=headers)

    assert (response.status, response.problem["code"]) == (431, "header_too_large")
    assert response.one(b"connection") == b"close"
    assert inner.scopes == []


async def test_send_repeated_ordinary_fields_is_accepted(edge: EdgeMiddleware) -> None:
    fields = [(b"x-forwarded-for", b"a"), (b"x-forwarded-for", b"b"), (b"accept", b"x"), (b"accept", b"y")]

    assert (await ask(edge, headers=[*fields, (b"x-filler", b"x" * 15_000)])).status == 200
