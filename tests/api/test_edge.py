"""What holds for every request and every answer, whatever the application inside does."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from litestar import Litestar, get, post
from litestar.params import FromPath
from structlog.testing import capture_logs

from service.api.http.edge import EdgeMiddleware, read_body
from service.api.http.errors import BodyTooLarge
from service.api.http.problems import exception_handlers
from service.domain.errors import OutcomeUnknown
from service.observability.access_log import RequestRecord
from service.observability.exception_report import ClientDisconnected

REQUEST_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
SECRET = "hunter2-hunter2"
CALLER_ID = UUID("0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e")
ORIGIN = b"https://app.example"
NEVER = timedelta(hours=1)
AT_ONCE = timedelta(milliseconds=1)

Fields = list[tuple[bytes, bytes]]
App = Callable[..., Any]


class Answer(NamedTuple):
    status: int
    headers: Fields
    body: bytes

    def all(self, name: bytes) -> list[bytes]:
        return [value for field, value in self.headers if field == name]

    def one(self, name: bytes) -> bytes:
        (value,) = self.all(name)
        return value

    @property
    def problem(self) -> dict[str, Any]:
        problem: dict[str, Any] = json.loads(self.body)
        assert self.one(b"content-type") == b"application/problem+json"
        assert int(self.one(b"content-length")) == len(self.body)
        assert problem["status"] == self.status
        assert problem["instance"] == f"urn:uuid:{self.one(b'x-request-id').decode()}"
        return problem


def scope_of(method: str = "GET", target: str = "/things", headers: Fields | None = None) -> dict[str, Any]:
    path, _, query = target.partition("?")
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "headers": [(b"host", b"rollcall.test"), *(headers or [])],
        "client": ("198.51.100.7", 4711),
    }


async def send_request(app: App, scope: dict[str, Any], parts: list[bytes] | None = None) -> Answer | None:
    """Send a request in parts; after the last, nothing more ever comes. None when there was no answer."""
    sent: list[Any] = []
    waiting = list(parts or [])

    async def receive() -> dict[str, Any]:
        if not waiting:
            await asyncio.Event().wait()
        part = waiting.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(waiting)}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    if not sent:
        return None
    assert [message["type"] for message in sent[:2]] == ["http.response.start", "http.response.body"]
    assert len([message for message in sent if message["type"] == "http.response.start"]) == 1
    assert all(message["more_body"] for message in sent[1:-1])
    body = b"".join(message["body"] for message in sent[1:])
    return Answer(sent[0]["status"], list(sent[0]["headers"]), body)


async def ask(app: App, *args: Any, parts: list[bytes] | None = None, **fields: Any) -> Answer:
    answer = await send_request(app, scope_of(*args, **fields), parts)
    assert answer is not None
    return answer


class Inner:
    """An application that answers 200 and remembers what it was asked."""

    def __init__(self, *headers: tuple[bytes, bytes]) -> None:
        self.headers = [(b"content-type", b"application/json"), (b"content-length", b"7"), *headers]
        self.scopes: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        await send({"type": "http.response.body", "body": b'{"a"', "more_body": True})
        await send({"type": "http.response.body", "body": b":1}", "more_body": False})


@pytest.fixture
def inner() -> Inner:
    return Inner()


@pytest.fixture
def records() -> list[RequestRecord]:
    return []


@pytest.fixture
def boundary(inner: Inner, records: list[RequestRecord]) -> EdgeMiddleware:
    return EdgeMiddleware(inner, observe=records.append)


def around(app: App, **options: Any) -> EdgeMiddleware:
    return EdgeMiddleware(app, **({"request_timeout": NEVER, "body_timeout": NEVER} | options))


async def test_boundary_with_a_good_request_adds_its_headers_once(boundary: EdgeMiddleware) -> None:
    answer = await ask(boundary)

    assert (answer.status, answer.body) == (200, b'{"a":1}')
    assert answer.one(b"cache-control") == b"no-store"
    assert answer.one(b"x-content-type-options") == b"nosniff"
    assert answer.one(b"referrer-policy") == b"no-referrer"
    assert answer.one(b"content-security-policy") == b"default-src 'none'; frame-ancestors 'none'"
    assert UUID(answer.one(b"x-request-id").decode())
    assert not answer.all(b"vary")


async def test_boundary_replaces_what_the_application_says_of_its_own() -> None:
    app = Inner(
        (b"server", b"litestar"),
        (b"cache-control", b"public"),
        (b"x-request-id", b"another"),
        (b"content-security-policy", b"default-src 'self'"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
    )
    answer = await ask(EdgeMiddleware(app))

    assert not answer.all(b"server")
    assert answer.one(b"cache-control") == b"no-store"
    assert answer.one(b"x-request-id") != b"another"
    assert answer.one(b"content-security-policy") == b"default-src 'self'"
    assert answer.all(b"set-cookie") == [b"a=1", b"b=2"]


async def test_boundary_with_a_valid_request_id_keeps_it(boundary: EdgeMiddleware, inner: Inner) -> None:
    answer = await ask(boundary, headers=[(b"x-request-id", REQUEST_ID.encode())])

    assert answer.one(b"x-request-id") == REQUEST_ID.encode()
    assert inner.scopes[0]["state"]["request_id"] == REQUEST_ID


@pytest.mark.parametrize("given", [b"", b"1", REQUEST_ID.upper().encode(), b"\xff" * 36, b"x" * 9000])
async def test_boundary_with_another_request_id_makes_one(boundary: EdgeMiddleware, given: bytes) -> None:
    request_id = (await ask(boundary, headers=[(b"x-request-id", given)])).one(b"x-request-id").decode()

    assert request_id.encode() != given
    assert str(UUID(request_id)) == request_id


@pytest.mark.parametrize("host", [b"rollcall.test", b"a_b.test:65535", b"127.0.0.1:1", b"[::1]", b"[::1]:80"])
async def test_boundary_with_a_valid_host_lets_it_pass(boundary: EdgeMiddleware, host: bytes) -> None:
    scope = scope_of() | {"headers": [(b"host", host)]}

    answer = await send_request(boundary, scope)

    assert answer is not None
    assert answer.status == 200


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
async def test_boundary_with_an_invalid_host_refuses(
    boundary: EdgeMiddleware, inner: Inner, host: bytes
) -> None:
    answer = await send_request(boundary, scope_of() | {"headers": [(b"host", host)]})

    assert answer is not None
    assert answer.problem["code"] == "malformed_request"
    assert inner.scopes == []


async def test_boundary_without_host_refuses_except_from_http_1_0(boundary: EdgeMiddleware) -> None:
    modern = await send_request(boundary, scope_of() | {"headers": []})
    old = await send_request(boundary, scope_of() | {"headers": [], "http_version": "1.0"})

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
        [(b"authorization", b"Bearer \xc3\xa9")],
        [(b"x-filler", b"x" * 16 * 1024)],
        [(b"x-filler-%d" % number, b"") for number in range(100)],
    ],
)
async def test_boundary_with_bad_framing_refuses_and_closes(
    boundary: EdgeMiddleware, inner: Inner, headers: Fields
) -> None:
    answer = await ask(boundary, headers=headers)

    assert (answer.status, answer.problem["code"]) == (400, "malformed_request")
    assert answer.one(b"connection") == b"close"
    assert inner.scopes == []


async def test_boundary_with_many_ordinary_fields_lets_them_pass(boundary: EdgeMiddleware) -> None:
    fields = [(b"x-forwarded-for", b"a"), (b"x-forwarded-for", b"b"), (b"accept", b"x"), (b"accept", b"y")]

    assert (await ask(boundary, headers=[*fields, (b"x-filler", b"x" * 15_000)])).status == 200


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
async def test_boundary_with_another_spelling_of_a_path_answers_404(
    boundary: EdgeMiddleware, inner: Inner, target: str
) -> None:
    answer = await ask(boundary, "GET", target)

    assert (answer.status, answer.problem["code"]) == (404, "not_found")
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
async def test_boundary_with_an_unreadable_target_answers_400(
    boundary: EdgeMiddleware, inner: Inner, target: str
) -> None:
    answer = await ask(boundary, "GET", target)

    assert (answer.status, answer.problem["code"]) == (400, "malformed_request")
    assert inner.scopes == []


@pytest.mark.parametrize(
    "target",
    ["/", "/things?a=b%20c+d&e=%C3%A9", "/.well-known/x", "/a.b/..c", "/%C3%A9", "/a%252Fb", "/a%20b"],
)
async def test_boundary_with_a_readable_target_lets_it_pass(boundary: EdgeMiddleware, target: str) -> None:
    assert (await ask(boundary, "GET", target)).status == 200


async def test_boundary_with_refusal_before_routing_keeps_the_request_id(boundary: EdgeMiddleware) -> None:
    answer = await ask(boundary, "GET", "/things/", headers=[(b"x-request-id", REQUEST_ID.encode())])

    assert answer.problem["instance"] == f"urn:uuid:{REQUEST_ID}"


async def test_boundary_with_head_serves_get_without_the_body(boundary: EdgeMiddleware, inner: Inner) -> None:
    answer = await ask(boundary, "HEAD")

    assert (answer.status, answer.body) == (200, b"")
    assert answer.one(b"content-length") == b"7"
    assert inner.scopes[0]["method"] == "GET"


async def test_boundary_with_head_leaves_the_servers_scope_alone(boundary: EdgeMiddleware) -> None:
    scope = scope_of("HEAD")

    await send_request(boundary, scope)

    assert scope["method"] == "HEAD"


@pytest.mark.parametrize(
    ("allow", "said"),
    [(b"GET, OPTIONS", b"GET, HEAD, OPTIONS"), (b"POST", b"POST"), (b"GET, HEAD", b"GET, HEAD")],
)
async def test_boundary_with_allow_names_head_beside_get(allow: bytes, said: bytes) -> None:
    assert (await ask(EdgeMiddleware(Inner((b"allow", allow))))).one(b"allow") == said


async def test_boundary_with_a_configured_origin_shares_the_answer_with_it(inner: Inner) -> None:
    boundary = EdgeMiddleware(inner, cors_origins=[ORIGIN.decode()])

    answer = await ask(boundary, headers=[(b"origin", ORIGIN)])

    assert answer.one(b"access-control-allow-origin") == ORIGIN
    assert b"x-request-id" in answer.one(b"access-control-expose-headers")
    assert not answer.all(b"access-control-allow-credentials")
    assert answer.one(b"vary") == b"origin"


async def test_boundary_with_a_configured_origin_shares_a_refusal_too(inner: Inner) -> None:
    boundary = EdgeMiddleware(inner, cors_origins=[ORIGIN.decode()])

    answer = await ask(boundary, "GET", "/things/", headers=[(b"origin", ORIGIN)])

    assert (answer.status, answer.one(b"access-control-allow-origin")) == (404, ORIGIN)


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
async def test_boundary_with_another_origin_shares_nothing(inner: Inner, origin: bytes) -> None:
    boundary = EdgeMiddleware(inner, cors_origins=[ORIGIN.decode()])

    for method in ("GET", "OPTIONS"):
        fields = [(b"origin", origin), (b"access-control-request-method", b"PATCH")]
        answer = await ask(boundary, method, headers=fields)
        assert not [name for name, _ in answer.headers if name.startswith(b"access-control-")]
        assert answer.one(b"vary") == b"origin"


async def test_boundary_without_origins_sends_no_cors_header(boundary: EdgeMiddleware) -> None:
    answer = await ask(boundary, headers=[(b"origin", ORIGIN)])

    assert not [name for name, _ in answer.headers if name.startswith(b"access-control-")]


async def test_boundary_with_a_preflight_answers_it(inner: Inner) -> None:
    boundary = EdgeMiddleware(inner, cors_origins=[ORIGIN.decode()])

    answer = await ask(
        boundary, "OPTIONS", headers=[(b"origin", ORIGIN), (b"access-control-request-method", b"PATCH")]
    )

    assert (answer.status, answer.body) == (204, b"")
    assert answer.one(b"access-control-allow-origin") == ORIGIN
    assert b"PATCH" in answer.one(b"access-control-allow-methods")
    assert b"if-match" in answer.one(b"access-control-allow-headers")
    assert answer.one(b"access-control-max-age") == b"600"
    assert inner.scopes == []


async def test_boundary_with_what_is_no_preflight_leaves_it_to_the_router(inner: Inner) -> None:
    boundary = EdgeMiddleware(inner, cors_origins=[ORIGIN.decode()])
    fields = [(b"origin", ORIGIN), (b"access-control-request-method", b"PATCH")]

    assert (await ask(boundary, "OPTIONS", headers=fields[:1])).status == 200
    assert (await ask(boundary, "POST", headers=fields)).status == 200
    assert len(inner.scopes) == 2


async def test_boundary_observes_each_request_once(
    boundary: EdgeMiddleware, records: list[RequestRecord]
) -> None:
    answer = await ask(boundary, "HEAD", f"/things?token={SECRET}")

    (record,) = records
    assert (record.method, record.route, record.status) == ("HEAD", None, 200)
    assert record.request_id == answer.one(b"x-request-id").decode()
    assert record.client_ip == "198.51.100.7"
    assert record.duration_s >= 0
    assert SECRET not in repr(record)


async def test_boundary_observes_route_and_caller_when_the_application_tells_them(
    records: list[RequestRecord],
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["path_template"] = "/things/{id}"
        scope["state"]["caller_id"] = CALLER_ID
        await Inner()(scope, receive, send)

    for method in ("GET", "HEAD"):
        await ask(around(app, observe=records.append), method)

    assert [(record.route, record.caller_id) for record in records] == [("/things/{id}", CALLER_ID)] * 2


async def test_boundary_observes_a_refusal_before_routing(
    boundary: EdgeMiddleware, records: list[RequestRecord]
) -> None:
    await ask(boundary, "GET", "/things/")

    assert [record.status for record in records] == [404]


async def test_boundary_with_an_escaping_exception_answers_500_and_logs_no_message() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError(SECRET)

    with capture_logs() as logs:
        answer = await ask(around(app))

    assert answer.problem["code"] == "internal_error"
    (entry,) = logs
    assert entry["error"] == "builtins.KeyError"
    assert entry["request_id"] == answer.one(b"x-request-id").decode()
    assert SECRET not in repr(entry) + repr(answer)


async def test_boundary_with_an_escaping_refusal_answers_it() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise OutcomeUnknown

    with capture_logs() as logs:
        answer = await ask(around(app))

    assert (answer.status, answer.problem["code"]) == (503, "outcome_unknown")
    assert answer.one(b"retry-after") == b"1"
    assert logs == []


async def test_boundary_with_an_exception_after_the_start_logs_it_and_says_no_more(
    records: list[RequestRecord],
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise OutcomeUnknown(SECRET)

    with capture_logs() as logs:
        answer = await ask(around(app, observe=records.append))

    assert (answer.status, answer.body) == (200, b"half")
    assert [entry["event"] for entry in logs] == ["request_failed"]
    assert SECRET not in repr(logs)
    assert len(records) == 1


async def test_boundary_with_an_application_that_gives_no_answer_gives_one() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        return

    with capture_logs() as logs:
        assert (await ask(around(app))).problem["code"] == "internal_error"

    assert len(logs) == 1


async def test_boundary_with_a_hanging_application_answers_503(records: list[RequestRecord]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    with capture_logs() as logs:
        answer = await ask(around(app, request_timeout=AT_ONCE, observe=records.append))

    assert (answer.status, answer.problem["code"]) == (503, "database_unavailable")
    assert answer.one(b"retry-after") == b"1"
    assert [entry["event"] for entry in logs] == ["request_timed_out"]
    assert [record.status for record in records] == [503]


async def test_boundary_with_time_over_lets_the_application_answer_itself() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise OutcomeUnknown from None

    assert (await ask(around(app, request_timeout=AT_ONCE))).problem["code"] == "outcome_unknown"


async def test_boundary_with_time_over_after_the_start_says_no_more() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        await asyncio.Event().wait()

    with capture_logs() as logs:
        answer = await ask(around(app, request_timeout=AT_ONCE))

    assert (answer.status, answer.body) == (200, b"half")
    assert [entry["event"] for entry in logs] == ["request_timed_out"]


async def test_boundary_with_a_cancelled_request_passes_the_cancellation_on(
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


async def reading(scope: Any, receive: Any, send: Any) -> None:
    await read_body(scope, receive, limit_bytes=10)
    await Inner()(scope, receive, send)


async def test_boundary_with_a_body_that_stops_answers_400_and_closes() -> None:
    boundary = around(reading, body_timeout=AT_ONCE)
    scope = scope_of("POST", headers=[(b"content-length", b"10")])

    with capture_logs():
        answer = await send_request(boundary, scope, [])

    assert answer is not None
    assert (answer.status, answer.problem["code"]) == (400, "malformed_request")
    assert answer.one(b"connection") == b"close"


async def test_boundary_with_a_body_gives_the_application_its_own_time() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_body(scope, receive, limit_bytes=10)
        await asyncio.Event().wait()

    boundary = around(app, request_timeout=AT_ONCE)
    with capture_logs():
        answer = await ask(boundary, "POST", headers=[(b"content-length", b"2")], parts=[b"{", b"}"])

    assert (answer.status, answer.problem["code"]) == (503, "database_unavailable")
    assert not answer.all(b"connection")


@pytest.mark.parametrize(
    ("headers", "closes"),
    [
        ([(b"content-length", b"11")], False),
        ([(b"content-length", b"1000000")], True),
        ([(b"transfer-encoding", b"chunked")], True),
        ([(b"content-length", b"11"), (b"expect", b"100-continue")], True),
    ],
)
async def test_boundary_with_an_unread_body_closes_when_it_cannot_be_discarded(
    headers: Fields, closes: bool
) -> None:
    answer = await ask(around(reading), "POST", headers=headers, parts=[b"x" * 11, b"x"])

    assert answer.problem["code"] == "body_too_large"
    assert answer.all(b"connection") == ([b"close"] if closes else [])


async def test_boundary_with_a_long_body_that_was_read_keeps_the_connection() -> None:
    answer = await ask(
        around(reading), "POST", headers=[(b"transfer-encoding", b"chunked")], parts=[b"x", b"y"]
    )

    assert (answer.status, answer.all(b"connection")) == (200, [])


async def test_boundary_with_a_client_that_hangs_up_logs_nothing() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        return

    scope: Any = scope_of("POST", headers=[(b"content-length", b"10")])
    boundary: App = around(reading)
    with capture_logs() as logs:
        await boundary(scope, receive, send)

    assert logs == []


async def test_boundary_with_a_websocket_refuses_it(boundary: EdgeMiddleware, inner: Inner) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    app: App = boundary
    await app({"type": "websocket"}, None, send)

    assert [message["type"] for message in sent] == ["websocket.close"]
    assert inner.scopes == []


def parts_of(*parts: bytes) -> Any:
    stream: AsyncIterator[dict[str, Any]] = (
        {"type": "http.request", "body": part, "more_body": number < len(parts)}
        async for number, part in _counted(parts)
    )
    return stream.__anext__


async def _counted(parts: tuple[bytes, ...]) -> AsyncIterator[tuple[int, bytes]]:
    for number, part in enumerate(parts, 1):
        yield number, part
    yield 0, b"never asked for"


async def read(headers: Fields, *parts: bytes) -> bytes:
    scope: Any = {"headers": headers}
    return await read_body(scope, parts_of(*parts), limit_bytes=10)


async def test_read_body_within_the_limit_gives_it_whole() -> None:
    assert await read([(b"content-length", b"10")], b"01234", b"56789") == b"0123456789"
    assert await read([], b"0123456789") == b"0123456789"
    assert await read([], b"") == b""


@pytest.mark.parametrize("declared", [b"11", b"9" * 15, b"9" * 5000])
async def test_read_body_with_a_length_over_the_limit_refuses_before_reading(declared: bytes) -> None:
    async def receive() -> Any:
        pytest.fail("The body was read.")

    scope: Any = {"headers": [(b"content-length", declared)]}
    with pytest.raises(BodyTooLarge):
        await read_body(scope, receive, limit_bytes=10)


async def test_read_body_without_length_refuses_at_the_first_byte_too_many() -> None:
    with pytest.raises(BodyTooLarge):
        await read([], b"0123456789", b"0", b"never asked for")


async def test_read_body_with_a_client_that_hangs_up_says_so() -> None:
    async def receive() -> Any:
        return {"type": "http.disconnect"}

    scope: Any = {"headers": []}
    with pytest.raises(ClientDisconnected):
        await read_body(scope, receive, limit_bytes=10)


@get("/v1/things/{thing_id:str}", sync_to_thread=False)
def show(thing_id: FromPath[str]) -> dict[str, str]:
    return {"id": thing_id}


@post("/v1/things")
async def fail() -> None:
    raise KeyError(SECRET)


@pytest.fixture
def framework(records: list[RequestRecord]) -> App:
    app = Litestar([show, fail], exception_handlers=exception_handlers, openapi_config=None)
    app.asgi_handler = EdgeMiddleware(app.asgi_handler, observe=records.append)
    return app


@pytest.mark.parametrize(
    ("method", "target", "status", "route"),
    [
        ("GET", "/v1/things/1", 200, "/v1/things/{thing_id}"),
        ("HEAD", "/v1/things/1", 200, "/v1/things/{thing_id}"),
        ("OPTIONS", "/v1/things/1", 204, "/v1/things/{thing_id}"),
        ("GET", "/v1/things/1/", 404, None),
        ("GET", "/v1/nothing", 404, None),
        ("TRACE", "/v1/things/1", 405, None),
        ("POST", "/v1/things", 500, "/v1/things"),
    ],
)
async def test_boundary_around_the_framework_covers_every_answer(
    framework: App, records: list[RequestRecord], method: str, target: str, status: int, route: str | None
) -> None:
    with capture_logs():
        answer = await ask(framework, method, target, parts=[b""])

    assert answer.status == status
    assert answer.one(b"cache-control") == b"no-store"
    assert [(record.method, record.status, record.route) for record in records] == [(method, status, route)]
    if status >= 400:
        assert answer.problem["status"] == status
    if status == 405:
        assert answer.one(b"allow") == b"GET, HEAD, OPTIONS"
