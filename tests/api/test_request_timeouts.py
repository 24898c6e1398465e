"""Requests and their bodies have time limits."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from service.api.http.body import read_body
from service.domain.errors import OutcomeUnknown
from service.observability.access_log import RequestRecord
from tests.support.asgi import AT_ONCE, Inner, around, ask, scope_of, send_request


async def reading(scope: Any, receive: Any, send: Any) -> None:
    await read_body(scope["state"]["fields"], receive, limit_bytes=10)
    await Inner()(scope, receive, send)


async def test_exceed_request_timeout_returns_503(records: list[RequestRecord]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    with capture_logs() as logs:
        response = await ask(around(app, request_timeout=AT_ONCE, observe=records.append))

    assert (response.status, response.problem["code"]) == (503, "database_unavailable")
    assert response.one(b"retry-after") == b"1"
    assert [entry["event"] for entry in logs] == ["request_timed_out"]
    assert [record.status for record in records] == [503]


async def test_exceed_request_timeout_returns_the_error_that_the_application_raises() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise OutcomeUnknown from None

    assert (await ask(around(app, request_timeout=AT_ONCE))).problem["code"] == "outcome_unknown"


async def test_exceed_request_timeout_after_response_start_sends_nothing_more() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        await asyncio.Event().wait()

    with capture_logs() as logs:
        response = await ask(around(app, request_timeout=AT_ONCE))

    assert (response.status, response.body) == (200, b"half")
    assert [entry["event"] for entry in logs] == ["request_timed_out"]


async def test_cancel_request_from_outside_propagates_the_cancellation(
    records: list[RequestRecord],
) -> None:
    started = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        started.set()
        await asyncio.Event().wait()

    request = asyncio.create_task(send_request(around(app, observe=records.append), scope_of()))
    await started.wait()
    request.cancel()

    with pytest.raises(asyncio.CancelledError):
        await request
    assert [record.status for record in records] == [499]


async def test_exceed_body_timeout_returns_400_and_closes_the_connection() -> None:
    edge = around(reading, body_timeout=AT_ONCE)
    scope = scope_of("POST", headers=[(b"content-length", b"10")])

    with capture_logs():
        response = await send_request(edge, scope, [])

    assert response is not None
    assert (response.status, response.problem["code"]) == (400, "malformed_request")
    assert response.one(b"connection") == b"close"


async def test_complete_body_restarts_the_time_limit() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_body(scope["state"]["fields"], receive, limit_bytes=10)
        await asyncio.Event().wait()

    edge = around(app, request_timeout=AT_ONCE)
    with capture_logs():
        response = await ask(edge, "POST", headers=[(b"content-length", b"2")], parts=[b"{", b"}"])

    assert (response.status, response.problem["code"]) == (503, "database_unavailable")
    assert not response.all(b"connection")
