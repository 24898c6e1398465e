"""Exceptions that reach the edge become problem documents, or are logged once a response has begun."""

from typing import Any

from structlog.testing import capture_logs

from service.api.http.body import read_body
from service.domain.errors import OutcomeUnknown
from service.observability.access_log import RequestRecord
from tests.support.asgi import App, Inner, around, ask, scope_of

SECRET = "hunter2-hunter2"


async def reading(scope: Any, receive: Any, send: Any) -> None:
    await read_body(scope["state"]["fields"], receive, limit_bytes=10)
    await Inner()(scope, receive, send)


async def test_raise_unexpected_exception_returns_500_and_logs_no_message() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError(SECRET)

    with capture_logs() as logs:
        response = await ask(around(app))

    assert response.problem["code"] == "internal_error"
    (entry,) = logs
    assert entry["error"] == "builtins.KeyError"
    assert entry["request_id"] == response.one(b"x-request-id").decode()
    assert SECRET not in repr(entry) + repr(response)


async def test_raise_expected_error_returns_it() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise OutcomeUnknown

    with capture_logs() as logs:
        response = await ask(around(app))

    assert (response.status, response.problem["code"]) == (503, "outcome_unknown")
    assert response.one(b"retry-after") == b"1"
    assert logs == []


async def test_raise_after_response_start_logs_it_and_sends_nothing_more(
    records: list[RequestRecord],
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise OutcomeUnknown(SECRET)

    with capture_logs() as logs:
        response = await ask(around(app, observe=records.append))

    assert (response.status, response.body) == (200, b"half")
    assert [entry["event"] for entry in logs] == ["request_failed"]
    assert SECRET not in repr(logs)
    assert len(records) == 1


async def test_send_no_response_returns_500() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        return

    with capture_logs() as logs:
        assert (await ask(around(app))).problem["code"] == "internal_error"

    assert len(logs) == 1


async def test_disconnect_while_sending_the_body_logs_nothing() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        return

    scope: Any = scope_of("POST", headers=[(b"content-length", b"10")])
    edge: App = around(reading)
    with capture_logs() as logs:
        await edge(scope, receive, send)

    assert logs == []
