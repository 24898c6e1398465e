"""The hottest operations have a way past the router; nobody may notice."""

from typing import Any, cast

import httpx
import pytest

from service.api.short_ways import ShortWays
from tests.support.api import Api, RunningService

VARIABLE = {"x-request-id", "date"}


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic YTpi"}, {"Accept": "text/html"}])
@pytest.mark.parametrize("query", ["", "?a=1"])
async def test_refuse_on_the_short_way_answers_as_the_router_does(
    api: Api, headers: dict[str, str], query: str
) -> None:
    account = await api.account()
    short = await api.get(f"/v1/users/me{query}", headers=headers)
    routed = await api.get(f"/v1/users/{account.id}{query}", headers=headers)
    assert (short.status_code, dict(_told(short.headers))) == (
        routed.status_code,
        dict(_told(routed.headers)),
    )
    assert {**short.json(), "instance": ""} == {**routed.json(), "instance": ""}


async def test_read_on_the_short_way_answers_as_the_router_does(api: Api) -> None:
    account = await api.account()
    short = await api.by(account).get("/v1/users/me")
    routed = await api.by(account).get(f"/v1/users/{account.id}")
    assert (short.status_code, short.content) == (routed.status_code, routed.content) == (200, short.content)
    assert dict(_told(short.headers)) == dict(_told(routed.headers))


async def test_take_the_short_way_skips_the_router(api: Api, running: RunningService) -> None:
    async def router(*_: object) -> None:
        raise AssertionError("this request was routed")

    account = await api.account()
    short_ways: ShortWays = cast(Any, running.app.asgi_handler)._app
    routed, short_ways._app = short_ways._app, router
    try:
        found = [await api.by(account).get(path) for path in ("/v1/users/me", "/v1/sessions/current")]
        found.append(await api.post("/v1/introspect", {"token": "x"}))
        found.append(await api.log_in("ada"))
        found.append(await api.post("/v1/users", {"login_id": "new", "name": "New"}))
    finally:
        short_ways._app = routed
    assert [answer.status_code for answer in found] == [200, 200, 401, 201, 401]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/sessions", {"login_id": "ada", "password": "no, this is another one"}),
        ("/v1/sessions", {"login_id": "ada"}),
        ("/v1/users", {"login_id": "ada", "name": "Ada"}),
        ("/v1/users", {"login_id": "ada"}),
    ],
)
async def test_refuse_a_post_on_the_short_way_answers_as_the_router_does(
    api: Api, running: RunningService, path: str, body: dict[str, str]
) -> None:
    root = api.by(await api.admin())
    await api.account()
    short = await root.post(path, body)
    short_ways: ShortWays = cast(Any, running.app.asgi_handler)._app
    ways, short_ways._ways = short_ways._ways, {}
    try:
        routed = await root.post(path, body)
    finally:
        short_ways._ways = ways
    assert (short.status_code, dict(_told(short.headers))) == (
        routed.status_code,
        dict(_told(routed.headers)),
    )
    assert {**short.json(), "instance": ""} == {**routed.json(), "instance": ""}
    assert short.status_code in (401, 409, 422)


def _told(headers: httpx.Headers) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers.items() if name not in VARIABLE]
