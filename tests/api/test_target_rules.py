"""A path has one spelling; paths and queries that cannot be read are rejected."""

import pytest

from service.api.http.edge import EdgeMiddleware
from tests.support.asgi import Inner, ask


@pytest.mark.parametrize(
    "target",
    [
        "/things/",
        "//things",
        "/things//one",
        "/a/../things",
        "/things/..",
        "/./things",
        "/a/%2e%2E/things",
        "/things%2Fone",
        "/things%2fone",
        "/things%5Cone",
        "/%2f",
        "//",
    ],
)
async def test_send_alternative_spelling_of_a_path_returns_404(
    edge: EdgeMiddleware, inner: Inner, target: str
) -> None:
    response = await ask(edge, "GET", target)

    assert (response.status, response.problem["code"]) == (404, "not_found")
    assert inner.scopes == []


@pytest.mark.parametrize(
    "target",
    [
        "/a%00b",
        "/a%zz",
        "/a%2",
        "/a%",
        "/%ff",
        "/%c0%af",
        "/%ed%a0%80",
        "/\xff",
        "/a\\b",
        "*",
        "things",
        "/things?a=%ff",
        "/things?a=%",
        "/things?a=%2x",
        "/things?a=%00",
        "/things?a=\xff",
    ],
)
async def test_send_unreadable_target_returns_400(edge: EdgeMiddleware, inner: Inner, target: str) -> None:
    response = await ask(edge, "GET", target)

    assert (response.status, response.problem["code"]) == (400, "malformed_request")
    assert inner.scopes == []


@pytest.mark.parametrize(
    "target",
    ["/", "/things?a=b%20c+d&e=%C3%A9", "/.well-known/x", "/a.b/..c", "/%C3%A9", "/a%252Fb", "/a%20b"],
)
async def test_send_readable_target_is_accepted(edge: EdgeMiddleware, target: str) -> None:
    assert (await ask(edge, "GET", target)).status == 200
