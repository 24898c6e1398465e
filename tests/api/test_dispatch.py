"""The table of operations finds endpoints by path and method, and injects their arguments by type."""

from datetime import timedelta
from http import HTTPMethod
from typing import Any, NewType

import pytest
from structlog.testing import capture_logs

from service.api.authentication import Authenticator
from service.api.dispatch import RouteTable, bind
from service.api.http.edge import EdgeMiddleware
from service.api.http.response import Response
from service.api.operations import Operation
from service.api.pipeline import OperationPipeline
from service.api.requests import OperationRequest
from service.domain.callers import ANONYMOUS, Access
from service.domain.errors import NotFound
from service.observability.access_log import RequestRecord
from tests.support.asgi import App, ask

SECRET = "hunter2-hunter2"
Greeting = NewType("Greeting", str)


def declare(id_: str, method: HTTPMethod, path: str) -> Operation:
    return Operation(method, path, id=id_, tag="", access=Access(public=True), responses={})


@declare("list", HTTPMethod.GET, "/v1/things")
async def list_things() -> Response:
    return Response(200, b"[]")


@declare("fail", HTTPMethod.POST, "/v1/things")
async def fail() -> Response:
    raise KeyError(SECRET)


@declare("get", HTTPMethod.GET, "/v1/things/{thing_id}")
async def get_thing(request: OperationRequest) -> Response:
    return Response(200, str(request.subject_id).encode())


@declare("newest", HTTPMethod.PUT, "/v1/things/newest")
async def put_newest() -> Response:
    return Response(204)


ENDPOINTS = (list_things, fail, get_thing, put_newest)
PROVIDERS: dict[object, Any] = {OperationRequest: lambda request: request}


def found(path: str) -> tuple[str, str]:
    resource, segment = RouteTable(ENDPOINTS, PROVIDERS).find(path)
    return resource.path, segment


def test_find_path_returns_its_resource_and_placeholder() -> None:
    assert found("/v1/things")[0] == "/v1/things"
    assert found("/v1/things/1") == ("/v1/things/{thing_id}", "1")


def test_find_exact_path_wins_over_a_placeholder() -> None:
    assert found("/v1/things/newest")[0] == "/v1/things/newest"


@pytest.mark.parametrize("path", ["/", "/v1", "/v2/things", "/v1/things/1/2", "/v1/other/1", "/V1/things"])
def test_find_unknown_path_raises_not_found(path: str) -> None:
    with pytest.raises(NotFound):
        found(path)


def test_make_table_with_two_operations_of_one_method_and_path_raises() -> None:
    with pytest.raises(ValueError, match="two operations serve GET /v1/things"):
        RouteTable([list_things, list_things], PROVIDERS)


async def test_bind_function_injects_arguments_by_type() -> None:
    async def greet(greeting: Greeting, request: OperationRequest) -> Response:
        return Response(200, f"{greeting} {request.caller.kind}".encode())

    serve = bind(greet, {**PROVIDERS, Greeting: lambda _request: "hello"})
    request = OperationRequest(list_things.operation, ANONYMOUS, {}, {})  # type: ignore[typeddict-item]

    assert (await serve(request)).body == b"hello anonymous"


def test_bind_function_with_unknown_parameter_type_raises() -> None:
    async def greet(greeting: Greeting) -> Response:
        return Response(200, greeting.encode())

    with pytest.raises(TypeError, match=r"nothing provides greeting: .*Greeting for .*greet"):
        bind(greet, PROVIDERS)


@pytest.fixture
def app(records: list[RequestRecord]) -> App:
    """The pipeline with the edge around it, as in production."""
    authenticator: Any = Authenticator.__new__(Authenticator)  # public operations never ask it
    routes, ttl = RouteTable(ENDPOINTS, PROVIDERS), timedelta(minutes=10)
    pipeline = OperationPipeline(routes, authenticator, step_up_ttl=ttl)
    return EdgeMiddleware(pipeline, observe=records.append)


THING = "/v1/things/0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e"


@pytest.mark.parametrize(
    ("method", "target", "status", "route"),
    [
        ("GET", THING, 200, "/v1/things/{thing_id}"),
        ("HEAD", THING, 200, "/v1/things/{thing_id}"),
        ("OPTIONS", THING, 204, "/v1/things/{thing_id}"),
        ("GET", f"{THING}/", 404, None),
        ("GET", "/v1/things/1", 404, "/v1/things/{thing_id}"),
        ("GET", "/v1/nothing", 404, None),
        ("GET", "/", 404, None),
        ("TRACE", THING, 405, None),
        ("HEAD", "/v1/things/newest", 405, None),
        ("POST", "/v1/things", 500, "/v1/things"),
        ("PUT", "/v1/things/newest", 204, "/v1/things/newest"),
    ],
)
async def test_serve_responds_and_records_the_route(
    app: App, records: list[RequestRecord], method: str, target: str, status: int, route: str | None
) -> None:
    with capture_logs():
        response = await ask(app, method, target, parts=[b""])

    assert response.status == status
    assert response.one(b"cache-control") == b"no-store"
    assert [(record.method, record.status, record.route) for record in records] == [(method, status, route)]
    if status >= 400 and method != "HEAD":
        assert response.problem["status"] == status


@pytest.mark.parametrize(
    ("target", "allow"),
    [
        ("/v1/things", b"GET, HEAD, OPTIONS, POST"),
        (THING, b"GET, HEAD, OPTIONS"),
        ("/v1/things/newest", b"OPTIONS, PUT"),
    ],
)
async def test_send_options_or_unknown_method_returns_allow(app: App, target: str, allow: bytes) -> None:
    assert (await ask(app, "OPTIONS", target)).one(b"allow") == allow
    assert (await ask(app, "DELETE", target)).one(b"allow") == allow
