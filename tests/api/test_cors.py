"""CORS header fields are sent to configured origins only."""

import pytest

from service.api.http.edge import EdgeMiddleware
from tests.support.asgi import Inner, ask

ORIGIN = b"https://app.example"


async def test_send_configured_origin_allows_it(inner: Inner) -> None:
    edge = EdgeMiddleware(inner, cors_origins=[ORIGIN.decode()])

    response = await ask(edge, headers=[(b"origin", ORIGIN)])

    assert response.one(b"access-control-allow-origin") == ORIGIN
    assert b"x-request-id" in response.one(b"access-control-expose-headers")
    assert not response.all(b"access-control-allow-credentials")
    assert response.one(b"vary") == b"origin"


async def test_send_configured_origin_with_a_bad_path_allows_it_to_read_the_error(inner: Inner) -> None:
    edge = EdgeMiddleware(inner, cors_origins=[ORIGIN.decode()])

    response = await ask(edge, "GET", "/things/", headers=[(b"origin", ORIGIN)])

    assert (response.status, response.one(b"access-control-allow-origin")) == (404, ORIGIN)


@pytest.mark.parametrize("bad", [(b"host", b"other.test"), (b"x-filler", b"x" * 16 * 1024)])
async def test_send_configured_origin_with_a_bad_header_allows_it_to_read_the_error(
    inner: Inner, bad: tuple[bytes, bytes]
) -> None:
    edge = EdgeMiddleware(inner, cors_origins=[ORIGIN.decode()])

    response = await ask(edge, headers=[(b"origin", ORIGIN), bad])
    twice = await ask(edge, headers=[(b"origin", ORIGIN), (b"origin", ORIGIN)])

    assert response.status in (400, 431)
    assert response.one(b"access-control-allow-origin") == ORIGIN
    assert not twice.all(b"access-control-allow-origin")


@pytest.mark.parametrize(
    "origin",
    [
        b"https://appxexample",
        b"https://app.example.evil",
        b"http://app.example",
        b"https://APP.example",
        b"null",
        b"*",
    ],
)
async def test_send_other_origin_gets_no_cors_header(inner: Inner, origin: bytes) -> None:
    edge = EdgeMiddleware(inner, cors_origins=[ORIGIN.decode()])

    for method in ("GET", "OPTIONS"):
        fields = [(b"origin", origin), (b"access-control-request-method", b"PATCH")]
        response = await ask(edge, method, headers=fields)
        assert not [name for name, _ in response.headers if name.startswith(b"access-control-")]
        assert response.one(b"vary") == b"origin"


async def test_send_origin_without_configured_ones_gets_no_cors_header(edge: EdgeMiddleware) -> None:
    response = await ask(edge, headers=[(b"origin", ORIGIN)])

    assert not [name for name, _ in response.headers if name.startswith(b"access-control-")]


async def test_send_preflight_is_served_by_the_edge(inner: Inner) -> None:
    edge = EdgeMiddleware(inner, cors_origins=[ORIGIN.decode()])

    response = await ask(
        edge, "OPTIONS", headers=[(b"origin", ORIGIN), (b"access-control-request-method", b"PATCH")]
    )

    assert (response.status, response.body) == (204, b"")
    assert response.one(b"access-control-allow-origin") == ORIGIN
    assert b"PATCH" in response.one(b"access-control-allow-methods")
    allowed = set(response.one(b"access-control-allow-headers").split(b", "))
    assert {b"authorization", b"content-type", b"if-match", b"idempotency-key"} <= allowed
    assert {b"traceparent", b"tracestate", b"baggage", b"sentry-trace", b"x-requested-with"} <= allowed
    assert response.one(b"access-control-max-age") == b"600"
    assert inner.scopes == []


async def test_send_options_that_is_no_preflight_reaches_the_application(inner: Inner) -> None:
    edge = EdgeMiddleware(inner, cors_origins=[ORIGIN.decode()])
    fields = [(b"origin", ORIGIN), (b"access-control-request-method", b"PATCH")]

    assert (await ask(edge, "OPTIONS", headers=fields[:1])).status == 200
    assert (await ask(edge, "POST", headers=fields)).status == 200
    assert len(inner.scopes) == 2
