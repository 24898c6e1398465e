"""The edge sets the header fields of every response, and serves HEAD."""

from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from service.api.http.edge import EdgeMiddleware
from service.api.http.errors import HeaderTooLarge
from service.observability.access_log import RequestRecord
from tests.support.asgi import App, Inner, ask, scope_of, send_request

FOREIGN_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


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


@pytest.mark.parametrize(
    ("given", "logged"),
    [
        (FOREIGN_ID.encode(), FOREIGN_ID),
        (b"Root=1-67891233-abcdef", "Root=1-67891233-abcdef"),
        (b"x" * 128, "x" * 128),
        (b"x" * 129, None),
        (b"", None),
        (b"two words", None),
        (b"\xff" * 36, None),
    ],
)
async def test_send_request_id_gets_one_of_our_own_and_is_logged_beside_it(
    edge: EdgeMiddleware, inner: Inner, records: list[RequestRecord], given: bytes, logged: str | None
) -> None:
    response = await ask(edge, headers=[(b"x-request-id", given)])

    request_id = response.one(b"x-request-id").decode()
    assert request_id.encode() != given
    assert str(UUID(request_id)) == request_id == inner.scopes[0]["state"]["request_id"]
    assert [(record.request_id, record.client_request_id) for record in records] == [(request_id, logged)]


async def test_respond_to_error_sends_its_problem_and_closes_the_connection(
    edge: EdgeMiddleware, inner: Inner, records: list[RequestRecord]
) -> None:
    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        await edge.respond_to_error(HeaderTooLarge(), scope, receive, send)

    response = await ask(refuse)

    assert (response.status, response.problem["code"]) == (431, "header_too_large")
    assert response.one(b"connection") == b"close"
    assert response.one(b"cache-control") == b"no-store"
    assert [(record.status, record.network) for record in records] == [(431, "198.51.100.7/32")]
    assert inner.scopes == []


async def test_respond_to_an_unexpected_error_returns_500_and_logs_no_message(edge: EdgeMiddleware) -> None:
    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        await edge.respond_to_error(KeyError("hunter2"), scope, receive, send)

    with capture_logs() as logs:
        response = await ask(refuse)

    assert response.problem["code"] == "internal_error"
    assert [entry["error"] for entry in logs] == ["builtins.KeyError"]
    assert "hunter2" not in repr(logs) + repr(response)


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
