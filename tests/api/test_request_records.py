"""Each request is recorded once, without its path and query."""

from typing import Any
from uuid import UUID

from service.api.http.edge import EdgeMiddleware
from service.observability.access_log import RequestRecord
from tests.support.asgi import Inner, around, ask

SECRET = "hunter2-hunter2"
CALLER_ID = UUID("0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e")


async def test_serve_records_the_request_once(edge: EdgeMiddleware, records: list[RequestRecord]) -> None:
    response = await ask(edge, "HEAD", f"/things?token={SECRET}")

    (record,) = records
    assert (record.method, record.route, record.status) == ("HEAD", None, 200)
    assert record.request_id == response.one(b"x-request-id").decode()
    assert record.network == "198.51.100.7/32"
    assert record.duration_s >= 0
    assert SECRET not in repr(record)


async def test_serve_records_route_and_caller_of_the_application(
    records: list[RequestRecord],
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["state"]["route"] = "/things/{id}"
        scope["state"]["caller_id"] = CALLER_ID
        await Inner()(scope, receive, send)

    for method in ("GET", "HEAD"):
        await ask(around(app, observe=records.append), method)

    assert [(record.route, record.caller_id) for record in records] == [("/things/{id}", CALLER_ID)] * 2


async def test_reject_before_routing_records_the_request(
    edge: EdgeMiddleware, records: list[RequestRecord]
) -> None:
    await ask(edge, "GET", "/things/")

    assert [(record.status, record.network) for record in records] == [(404, "198.51.100.7/32")]
