"""What stands around the whole application: what must hold for every request and every answer.

The boundary is outermost, so that it also covers what the router refuses and what the framework gets wrong.
"""

import asyncio
import re
from collections.abc import Callable, Collection
from datetime import timedelta
from time import perf_counter
from typing import Final

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, ReceiveMessage, Scope, Send
from structlog.contextvars import bind_contextvars

from service.api.http.client_address import Networks, resolve_client_ip
from service.api.http.cycle import SECURITY_HEADERS, RequestResponseCycle
from service.api.http.errors import BodyTooLarge, MalformedRequest
from service.api.http.headers import Fields, check_headers, check_target
from service.api.http.problems import to_error
from service.api.http.timeouts import CoarseTimer, Deadline
from service.domain.errors import DatabaseUnavailable, InternalError, RollcallError
from service.domain.ids import parse_id
from service.observability.access_log import RequestRecord
from service.observability.exception_report import ClientDisconnected, log_failure
from service.security.ids import new_request_id

_log = structlog.get_logger("rollcall.api")

_PREFLIGHT: Final = (
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
    (
        b"access-control-allow-headers",
        b"authorization, content-type, if-match, if-none-match, idempotency-key, x-request-id",
    ),
    (b"access-control-max-age", b"600"),
)
_EXPOSED: Final = (
    b"access-control-expose-headers",
    b"etag, link, location, retry-after, x-request-id, idempotent-replayed",
)
_LONGEST_LENGTH: Final = 15
_TRACEPARENT: Final = re.compile(rb"[0-9a-f]{2}-(?P<trace>(?!0{32})[0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*")
"""Source: W3C Trace Context 3.2.2."""


def ignore_record(_record: RequestRecord) -> None:
    """Observe nothing."""


class EdgeMiddleware:
    """The outermost ASGI application around another one.

    For every HTTP request: `X-Request-Id` is kept or made, and left with the client's address and the header
    fields in the state of the scope (`request_id`, `client_ip`, `fields`); malformed requests are refused
    before routing; the time is limited; HEAD is served as GET without its body; whatever escapes becomes a
    problem document; the fixed header fields are set; `observe` is called once, after the answer, and must
    not raise.

    `cors_origins` are compared as whole strings; with none, no CORS header is ever sent. `body_timeout` runs
    from the start of a request until its body was read, `request_timeout` from then on.

    Source: OWASP ASVS 5.0 3.4.2, 3.4.4, 3.4.5, 3.4.6, 13.4.6, 14.3.2; CVE-2026-25478 (origins as patterns).
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        observe: Callable[[RequestRecord], None] = ignore_record,
        trusted_proxies: Networks = (),
        cors_origins: Collection[str] = (),
        request_timeout: timedelta = timedelta(seconds=9),
        body_timeout: timedelta = timedelta(seconds=10),
    ) -> None:
        self._app = app
        self._observe = observe
        self._trusted_proxies = trusted_proxies
        self._deadlines = CoarseTimer(min(request_timeout, body_timeout).total_seconds() / 10)
        self._request_limit_s = request_timeout.total_seconds()
        self._body_limit_s = body_timeout.total_seconds()
        self._common = (*SECURITY_HEADERS, (b"vary", b"origin")) if cors_origins else SECURITY_HEADERS
        self._origins = frozenset(origin.encode("ascii") for origin in cors_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of the server: HTTP and lifespan; a WebSocket is refused."""
        if scope["type"] == ScopeType.HTTP:
            await self._serve(scope, receive, send)
        elif scope["type"] == ScopeType.WEBSOCKET:
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
        else:
            await self._app(scope, receive, send)

    async def _serve(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        started_at = perf_counter()
        state = scope.setdefault("state", {})
        state["client_ip"] = client_ip = resolve_client_ip(scope, self._trusted_proxies)
        exchange = RequestResponseCycle(scope, receive, send, self._common)
        try:
            await self._admit(exchange)
        finally:
            record = RequestRecord(
                method=scope["method"],
                route=exchange.scope.get("path_template"),
                status=exchange.status,
                duration_s=perf_counter() - started_at,
                request_id=state["request_id"],
                client_ip=client_ip,
                caller_id=state.get("caller_id"),
                traceparent=state.get("traceparent"),
            )
            self._observe(record)

    async def _admit(self, exchange: RequestResponseCycle) -> None:
        """Refuse what is malformed, answer a preflight, and run the rest."""
        scope = exchange.scope
        state = scope["state"]
        try:
            fields = check_headers(scope)
        except MalformedRequest as error:
            state["request_id"] = new_request_id()
            # How far such a request reaches is anybody's guess, so nothing may follow it.
            await exchange.refuse(error, close=True)
            return
        state["fields"] = fields
        state["request_id"] = request_id = _request_id_of(fields)
        bind_contextvars(request_id=request_id)
        if (traceparent := _TRACEPARENT.fullmatch(fields.get(b"traceparent", b""))) is not None:
            state["traceparent"] = traceparent[0].decode()
            bind_contextvars(trace_id=traceparent["trace"].decode())
        if (origin := fields.get(b"origin")) in self._origins:
            exchange.headers += ((b"access-control-allow-origin", origin), _EXPOSED)
        try:
            check_target(scope)
        except RollcallError as error:
            await exchange.refuse(error)
            return
        if origin in self._origins and _is_preflight(scope, fields):
            await exchange.answer(204, _PREFLIGHT)
        else:
            await self._run(exchange, fields)

    async def _run(self, exchange: RequestResponseCycle, fields: Fields) -> None:
        """Run the application within its time, and answer in its place when it does not."""
        has_body = fields.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in fields
        deadline = self._deadlines.start(self._body_limit_s if has_body else self._request_limit_s)
        receive: Receive = exchange.receive
        if has_body:
            exchange.expect_body(fields)
            receive = self._receiver_of(exchange, deadline)
        try:
            await self._app(exchange.scope, receive, exchange.send)
            if not exchange.is_answered:
                await _answer_for(exchange, RuntimeError("The application gave no answer."))
        except asyncio.CancelledError:
            if not (deadline.expired and deadline.is_alone()):
                raise
            await _give_up(exchange)
        except Exception as error:  # noqa: BLE001 - the last line: whatever it is gets logged and answered
            await _answer_for(exchange, error)
        finally:
            self._deadlines.stop(deadline)

    def _receiver_of(self, exchange: RequestResponseCycle, deadline: Deadline) -> Receive:
        """Give the `receive` of a request with a body: once that is complete, the time begins anew."""

        async def receive() -> ReceiveMessage:
            was_unread = exchange.unread
            message = await exchange.receive()
            if was_unread and not exchange.unread:
                deadline.at_s = asyncio.get_running_loop().time() + self._request_limit_s
            return message

        return receive


async def _answer_for(exchange: RequestResponseCycle, error: Exception) -> None:
    """Answer for what the application let escape. Once its answer has begun, the server can only hang up."""
    refusal = to_error(error)
    if isinstance(refusal, InternalError) or exchange.is_answered:
        log_failure(error, request_id=exchange.scope["state"]["request_id"])
    if not exchange.is_answered:
        await exchange.refuse(refusal)


async def _give_up(exchange: RequestResponseCycle) -> None:
    """Answer a request whose time is over, if it has no answer yet."""
    scope = exchange.scope
    awaits_body = exchange.awaits_body
    _log.warning(
        "request_timed_out",
        request_id=scope["state"]["request_id"],
        route=scope.get("path_template"),
        awaits_body=awaits_body,
    )
    if exchange.is_answered:
        return
    refusal = MalformedRequest("The body did not arrive in time.") if awaits_body else DatabaseUnavailable()
    await exchange.refuse(refusal, close=exchange.unread)


def _request_id_of(fields: Fields) -> str:
    """Keep a request id that came along if it is a UUID in canonical form, else make one."""
    given = fields.get(b"x-request-id", b"").decode("latin-1")
    return given if given and parse_id(given) else new_request_id()


def _is_preflight(scope: HTTPScope, fields: Fields) -> bool:
    return scope["method"] == "OPTIONS" and b"access-control-request-method" in fields


async def read_body(scope: HTTPScope, receive: Receive, *, limit_bytes: int) -> bytes:
    """Give the whole body of a request.

    Raises:
        BodyTooLarge: it is declared to be, or turns out to be, longer than `limit_bytes`. At most one chunk
            more than that is held in memory.
        ClientDisconnected: the client hung up before the end.

    Source: OWASP ASVS 5.0 4.3.1, 15.2.2.
    """
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if len(declared) > _LONGEST_LENGTH or int(declared) > limit_bytes:
        raise BodyTooLarge
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnected
        body += message.get("body", b"")
        if len(body) > limit_bytes:
            raise BodyTooLarge
        if not message.get("more_body", False):
            return body
