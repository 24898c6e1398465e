"""The edge sets the header fields of every response, and serves HEAD."""

from typing import Any
from uuid import UUID

import pytest

from service.api.http.edge import EdgeMiddleware
from service.observability.access_log import RequestRecord
from tests.support.asgi import App, Inner, ask, scope_of, send_request

REQUEST_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture
def inner() -> Inner:
    return Inner()


@pytest.fixture
def records() -> list[RequestRecord]:
    return []


@pytest.fixture
def edge(inner: Inner, records: list[RequestRecord]) -> EdgeMiddleware:
    return EdgeMiddleware(inner, observe=records.append)


async def test_respond_adds_security_headers_once(edge: EdgeMiddleware) -> None:
    response = await ask(edge)

    assert (response.status, response.body) == (200, b'{"a":1}')
    assert response.one(b"cache-control") == b"no-store"
    assert response.one(b"x-content-type-options") == b"nosniff"
    assert response.one(b"referrer-policy") == b"no-referrer"
    policy = b"default-src 'none'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
    assert response.one(b"content-security-policy") == policy
    assert UUID(response.one(b"x-request-id").decode())
    assert not response.all(b"vary")


async def test_respond_replaces_reserved_headers_of_the_application() -> None:
    app = Inner(
        (b"server", b"litestar"),
        (b"cache-control", b"public"),
        (b"x-request-id", b"another"),
        (b"content-security-policy", b"default-src 'self'"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
    )
    response = await ask(EdgeMiddleware(app))

    assert not response.all(b"server")
    assert response.one(b"cache-control") == b"no-store"
    assert response.one(b"x-request-id") != b"another"
    assert response.one(b"content-security-policy") == b"default-src 'self'"
    assert response.all(b"set-cookie") == [b"a=1", b"b=2"]


async def test_send_valid_request_id_keeps_it(edge: EdgeMiddleware, inner: Inner) -> None:
    response = await ask(edge, headers=[(b"x-request-id", REQUEST_ID.encode())])

    assert response.one(b"x-request-id") == REQUEST_ID.encode()
    assert inner.scopes[0]["state"]["request_id"] == REQUEST_ID


@pytest.mark.parametrize("given", [b"", b"1", REQUEST_ID.upper().encode(), b"\xff" * 36, b"x" * 9000])
async def test_send_invalid_request_id_replaces_it(edge: EdgeMiddleware, given: bytes) -> None:
    request_id = (await ask(edge, headers=[(b"x-request-id", given)])).one(b"x-request-id").decode()

    assert request_id.encode() != given
    assert str(UUID(request_id)) == request_id


async def test_reject_before_routing_keeps_the_request_id(edge: EdgeMiddleware) -> None:
    response = await ask(edge, "GET", "/things/", headers=[(b"x-request-id", REQUEST_ID.encode())])

    assert response.problem["instance"] == f"urn:uuid:{REQUEST_ID}"


async def test_send_head_serves_get_without_the_body(edge: EdgeMiddleware, inner: Inner) -> None:
    response = await ask(edge, "HEAD")

    assert (response.status, response.body) == (200, b"")
    assert response.one(b"content-length") == b"7"
    assert inner.scopes[0]["method"] == "GET"


async def test_send_head_leaves_the_scope_of_the_server_unchanged(edge: EdgeMiddleware) -> None:
    scope = scope_of("HEAD")

    await send_request(edge, scope)

    assert scope["method"] == "HEAD"


async def test_open_websocket_closes_it(edge: EdgeMiddleware, inner: Inner) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    app: App = edge
    await app({"type": "websocket"}, None, send)

    assert [message["type"] for message in sent] == ["websocket.close"]
    assert inner.scopes == []
