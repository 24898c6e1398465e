"""The outermost middleware: what holds for every request and every response."""

import asyncio
import re
from collections.abc import Callable, Collection, Iterable
from datetime import timedelta
from time import perf_counter
from typing import Final

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, ReceiveMessage, Scope, Send
from structlog.contextvars import bind_contextvars

from service.api.http.body import declares_body
from service.api.http.client_address import Networks, rate_limit_prefix, resolve_client_ip
from service.api.http.cycle import CLOSE, SECURITY_HEADERS, RequestResponseCycle
from service.api.http.errors import MalformedRequest, TransportError
from service.api.http.headers import HeaderMap, check_headers, check_target
from service.api.http.problems import error_response, problem_response
from service.api.http.response import Response
from service.api.http.timeouts import CoarseTimer, Deadline
from service.domain.errors import DatabaseUnavailable, RollcallError
from service.observability.access_log import RequestRecord
from service.observability.exception_report import log_failure
from service.security.ids import new_request_id

_log = structlog.get_logger("rollcall.api")

_PREFLIGHT: Final = Response(
    204,
    headers=(
        (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
        (
            b"access-control-allow-headers",
            b"authorization, content-type, if-match, if-none-match, idempotency-key, x-request-id,"
            b" x-requested-with, traceparent, tracestate, baggage, sentry-trace",
        ),
        (b"access-control-max-age", b"600"),
    ),
)
_EXPOSED: Final = (
    b"access-control-expose-headers",
    b"etag, link, location, retry-after, x-request-id, idempotent-replayed",
)
_CREDENTIALS: Final = (b"access-control-allow-credentials", b"true")
_TRACEPARENT: Final = re.compile(rb"[0-9a-f]{2}-(?P<trace>(?!0{32})[0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*")
"""Source: W3C Trace Context 3.2.2."""
_FOREIGN_ID: Final = re.compile(rb"[!-~]{1,128}")
"""A client's own request id that is fit for the log."""


class EdgeMiddleware:
    """Wrap an ASGI application and apply the rules of every request.

    Malformed requests are rejected before routing, the time is limited, HEAD is served as GET without the
    body, exceptions become problem documents, and fixed header fields are set. The state of the scope holds
    `request_id`, `client_ip` and `fields` (the header fields) for the application, which may set `route` and
    `caller_id`. `observe` is called once per request, after the response, and must not raise.

    `cors_origins` are compared as whole strings; without any, no CORS header is sent. With `allows_cookies`
    their pages may send the session cookie. `body_timeout` runs from the start of a request until its body is
    read, `request_timeout` from then on.

    Gateways send the requests of their visitors to `forwarded_paths` and below. There only the beginning of a
    target counts, so the rest may have any spelling, and CORS does not apply.

    Source: OWASP ASVS 5.0 3.4.2, 3.4.4, 3.4.5, 3.4.6, 13.4.6, 14.3.2; CVE-2026-25478 (origins as patterns).
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        observe: Callable[[RequestRecord], object] = lambda _record: None,
        trusted_proxies: Networks = (),
        cors_origins: Collection[str] = (),
        allows_cookies: bool = False,
        forwarded_paths: Iterable[str] = (),
        request_timeout: timedelta = timedelta(seconds=9),
        body_timeout: timedelta = timedelta(seconds=10),
    ) -> None:
        self._app = app
        self._observe = observe
        self._trusted_proxies = trusted_proxies
        self._timer = CoarseTimer(min(request_timeout, body_timeout).total_seconds() / 10)
        self._request_limit_s = request_timeout.total_seconds()
        self._body_limit_s = body_timeout.total_seconds()
        self._headers = (*SECURITY_HEADERS, (b"vary", b"origin")) if cors_origins else SECURITY_HEADERS
        self._forwarded = tuple(f"{path}/".encode() for path in forwarded_paths)
        self._allowed = (_EXPOSED, _CREDENTIALS) if allows_cookies else (_EXPOSED,)
        self._origins = frozenset(origin.encode("ascii") for origin in cors_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request. WebSockets are rejected."""
        if scope["type"] == ScopeType.HTTP:
            await self._serve(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008, "reason": ""})

    async def respond_to_error(
        self, error: Exception, scope: HTTPScope, receive: Receive, send: Send
    ) -> None:
        """Respond with an error that the server met before there was a request; the connection ends."""
        await self._serve(scope, receive, send, error)

    async def _serve(
        self, scope: HTTPScope, receive: Receive, send: Send, error: Exception | None = None
    ) -> None:
        started_at = perf_counter()
        state = scope.setdefault("state", {})
        state["request_id"] = request_id = new_request_id()
        state["client_ip"] = client_ip = resolve_client_ip(scope, self._trusted_proxies)
        cycle = RequestResponseCycle(scope, receive, send, self._headers)
        try:
            if error is None:
                await self._validate(cycle)
            else:
                await _end_connection(cycle, error)
        finally:
            record = RequestRecord(
                method=scope["method"],
                route=state.get("route"),
                status=cycle.status,
                duration_s=perf_counter() - started_at,
                request_id=request_id,
                network=rate_limit_prefix(client_ip),
                caller_id=state.get("caller_id"),
                traceparent=state.get("traceparent"),
                client_request_id=state.get("client_request_id"),
            )
            self._observe(record)

    async def _validate(self, cycle: RequestResponseCycle) -> None:
        """Reject a malformed request, answer a preflight, run the application for the rest."""
        scope = cycle.scope
        state = scope["state"]
        request_id = state["request_id"]
        is_forwarded = (scope["raw_path"] + b"/").startswith(self._forwarded)
        try:
            fields = check_headers(scope, is_forwarded=is_forwarded)
        except TransportError as error:
            self._allow_origin(cycle, _single(scope, b"origin"))
            await _end_connection(cycle, error)
            return
        state["fields"] = fields
        bind_contextvars(request_id=request_id)
        if b"x-request-id" in fields and _FOREIGN_ID.fullmatch(fields[b"x-request-id"]):
            state["client_request_id"] = fields[b"x-request-id"].decode()
        if (traceparent := _TRACEPARENT.fullmatch(fields.get(b"traceparent", b""))) is not None:
            state["traceparent"] = traceparent[0].decode()
            bind_contextvars(trace_id=traceparent["trace"].decode())
        if is_forwarded:
            await self._run(cycle, fields)
            return
        is_allowed = b"origin" in fields and self._allow_origin(cycle, fields[b"origin"])
        try:
            check_target(scope)
        except RollcallError as error:
            await problem_response(error, request_id).send(cycle.send)
            return
        if is_allowed and _is_preflight(scope, fields):
            await _PREFLIGHT.send(cycle.send)
        else:
            await self._run(cycle, fields)

    def _allow_origin(self, cycle: RequestResponseCycle, origin: bytes | None) -> bool:
        """Let pages of a configured origin read the response; return whether this is one."""
        if origin is None or origin not in self._origins:
            return False
        cycle.headers += ((b"access-control-allow-origin", origin), *self._allowed)
        return True

    async def _run(self, cycle: RequestResponseCycle, fields: HeaderMap) -> None:
        """Run the application within its time limit, and respond in its place where it does not."""
        has_body = declares_body(fields)
        deadline = self._timer.start(self._body_limit_s if has_body else self._request_limit_s)
        receive: Receive = cycle.receive
        if has_body:
            cycle.expect_body(fields)
            receive = self._extend_deadline_after_body(cycle, deadline)
        try:
            await self._app(cycle.scope, receive, cycle.send)
            if not cycle.has_started:
                await _respond_error(cycle, RuntimeError("The application sent no response."))
        except asyncio.CancelledError:
            if not (deadline.expired and deadline.consume_cancellation()):
                raise
            await _respond_timeout(cycle)
        except Exception as error:  # noqa: BLE001 - the outermost handler logs and answers every exception
            await _respond_error(cycle, error)
        finally:
            self._timer.stop(deadline)

    def _extend_deadline_after_body(self, cycle: RequestResponseCycle, deadline: Deadline) -> Receive:
        """Return a `receive` that restarts the time limit once the body is complete."""

        async def receive() -> ReceiveMessage:
            was_unread = cycle.has_unread_body
            message = await cycle.receive()
            if was_unread and not cycle.has_unread_body:
                deadline.at_s = asyncio.get_running_loop().time() + self._request_limit_s
            return message

        return receive


async def _respond_error(cycle: RequestResponseCycle, error: Exception) -> None:
    """Send a problem document for an exception. Once a response has begun, the exception is only logged."""
    request_id = cycle.scope["state"]["request_id"]
    if cycle.has_started:
        log_failure(error, request_id=request_id)
    else:
        await error_response(error, request_id).send(cycle.send)


async def _respond_timeout(cycle: RequestResponseCycle) -> None:
    """Send a problem document for a request that timed out, unless its response has begun."""
    state = cycle.scope["state"]
    awaits_body = cycle.is_receiving and cycle.has_unread_body
    _log.warning(
        "request_timed_out",
        request_id=state["request_id"],
        route=state.get("route"),
        awaits_body=awaits_body,
    )
    if cycle.has_started:
        return
    error = MalformedRequest("The body did not arrive in time.") if awaits_body else DatabaseUnavailable()
    headers = CLOSE if cycle.has_unread_body else ()
    await problem_response(error, state["request_id"], headers).send(cycle.send)


async def _end_connection(cycle: RequestResponseCycle, error: Exception) -> None:
    """Respond with an error after which none may follow: where the next request begins is ambiguous."""
    await error_response(error, cycle.scope["state"]["request_id"], CLOSE).send(cycle.send)


def _single(scope: HTTPScope, name: bytes) -> bytes | None:
    """Return the value of a field of a header that was rejected, if it is there once."""
    values = [value for field, value in scope["headers"] if field == name]
    return values[0] if len(values) == 1 else None


def _is_preflight(scope: HTTPScope, fields: HeaderMap) -> bool:
    return scope["method"] == "OPTIONS" and b"access-control-request-method" in fields
