"""HTTP/1.1 of one connection: uvicorn's protocol, with bounded memory and one reading of each request."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeAlias, cast
from urllib.parse import unquote

import httptools
from uvicorn._types import ASGI3Application, ASGISendEvent, HTTPScope
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from service.api.http.cycle import BODY_ERROR
from service.api.http.errors import HeaderTooLarge, MalformedRequest, TooManyConnections
from service.domain.errors import RollcallError
from service.server.connections import ConnectionLimiter
from service.server.request_heads import (
    NO_FIELDS,
    SECOND_SPACE,
    origin_form,
    parse_error,
    without_upgrade,
)

MAX_SILENT_BYTES: Final = 24 * 1024
"""What a client may send before a header, or a part of a body, comes of it."""
MAX_QUEUED_REQUESTS: Final = 16
LINGER_S: Final = 1.0
"""How long a client that was refused may take to read the response."""

Respond: TypeAlias = Callable[[Exception, Any, Any, Any], Awaitable[None]]
"""An ASGI application that answers with a given error."""


class HttpProtocol(HttpToolsProtocol):
    """One connection.

    Header, trailers and chunk extensions are limited together, by the bytes that arrive without effect.
    Reading pauses while a request is queued or a body is not taken, and parsing pauses with it. Trailers are
    dropped. An offer to upgrade is declined, and the request is served. Errors before there is a request are
    answered by `respond`, in the order of the requests; then the connection ends.

    Source: RFC 9112 3.2, 9.3.2; RFC 9110 6.5.1, 7.8; OWASP ASVS 5.0 4.2.1, 15.2.2.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limiter: ConnectionLimiter,
        respond: Respond,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limiter = limiter
        self._respond = respond
        self.url = b"/"  # empty only from the first byte of a request to its target
        self._line_end = b""
        self._silent_bytes = 0
        self._unparsed = b""
        self._is_refused = False
        self.is_excess = False

    @property
    def is_new(self) -> bool:
        """Whether no request has begun yet."""
        return self.cycle is None and not self.is_between_requests

    @property
    def is_idle(self) -> bool:
        """Whether no request is in progress."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def is_between_requests(self) -> bool:
        """Whether uvicorn's keep-alive timeout runs."""
        return self.timeout_keep_alive_task is not None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Count the connection. One too many is answered once it sends something, so that it reads that."""
        super().connection_made(transport)
        self.flow = _ReadGate(transport, self)
        self.is_excess = not self._limiter.add(self.client)

    def connection_lost(self, exc: Exception | None) -> None:
        """Release everything that the connection holds."""
        self._limiter.remove(self.client)
        self._unparsed, self._is_refused = b"", True
        super().connection_lost(exc)
        cast(_ReadGate, self.flow).release()

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived, in parts small enough for the limits to hold."""
        self._unset_keepalive_if_required()
        if self.is_excess or self._is_refused:
            self._refuse(TooManyConnections())
        elif self._unparsed or len(data) > MAX_SILENT_BYTES:
            self._unparsed += data
            self.parse_rest()
        else:
            self._parse(data)

    def parse_rest(self) -> None:
        """Parse what arrived before reading was paused, until it is paused again."""
        if self._unparsed:
            self._unset_keepalive_if_required()
        while self._unparsed and not self.flow.read_paused:
            part, self._unparsed = self._unparsed[:MAX_SILENT_BYTES], self._unparsed[MAX_SILENT_BYTES:]
            self._parse(part)

    def _parse(self, data: bytes) -> None:
        self._silent_bytes += len(data)
        previous = self.cycle
        try:
            if b"  " in data or not self.url:
                self._feed_by_line(data)
            else:
                self._feed(data)
                if not self.url:
                    self._line_end = data[-2:]
            if self._silent_bytes > MAX_SILENT_BYTES:
                raise HeaderTooLarge
        except httptools.HttpParserError as error:
            self._refuse(parse_error(error, data if self.cycle is previous else b""))
        except RollcallError as error:
            self._refuse(error)

    def _feed(self, data: bytes) -> None:
        """Feed the parser. It stops at an offer to upgrade: feed a new one the request without the offer."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            head_bytes = stop.args[0]
        else:
            return
        version = self.parser.get_http_version().encode()
        head = without_upgrade(self.parser.get_method(), self.url, version, self.headers)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._feed(head + data[head_bytes:])

    def _feed_by_line(self, data: bytes) -> None:
        """Feed the parser up to each second space, as it skips those between method and target.

        Raises:
            MalformedRequest: there is more than one space before a target.
        """
        known = b"" if self.url else self._line_end
        data, start = known + data, len(known)
        for space in SECOND_SPACE.finditer(data):
            self._feed(data[start : space.start()])
            if not self.url:
                raise MalformedRequest
            start = space.start()
        self._feed(data[start:])
        self._line_end = data[-2:]

    def on_headers_complete(self) -> None:
        """Start or queue a request whose header is complete.

        Raises:
            TooManyConnections: too many requests are queued.
            MalformedRequest: the target names no path of this host; the method is CONNECT.
        """
        parser, scope, target = self.parser, self.scope, self.url
        if parser.should_upgrade():
            if parser.get_method() == b"CONNECT":
                raise MalformedRequest
            return
        if len(self.pipeline) >= MAX_QUEUED_REQUESTS:
            raise TooManyConnections("Too many requests wait on this connection.")
        if not target.startswith(b"/") or b"#" in target or not target.isascii():
            target = origin_form(target, self.headers)
        scope["raw_path"], _, scope["query_string"] = target.partition(b"?")
        path = scope["raw_path"].decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["method"] = parser.get_method().decode("ascii")
        if (version := parser.get_http_version()) != "1.1":
            scope["http_version"] = version
        scope["headers"] = tuple(self.headers)
        self.headers = NO_FIELDS  # what follows are trailers
        self._silent_bytes = 0
        previous = self.cycle
        self.cycle = self._new_cycle(scope, keep_alive=version != "1.0" and parser.should_keep_alive())
        self._start_or_queue(previous, self.app)

    def _start_or_queue(self, previous: RequestResponseCycle | None, app: ASGI3Application) -> None:
        if previous is None or previous.response_complete:
            self._start_asgi_task(self.cycle, app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, app))

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._silent_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the body."""
        if self.parser.should_upgrade():
            return
        self._silent_bytes = 0
        self.cycle.more_body = False
        self.cycle.message_event.set()

    def _refuse(self, error: Exception) -> None:
        """Answer with an error after the responses that are due, and read no more."""
        if self._is_refused:
            return
        self._is_refused, self._unparsed = True, b""
        if self.cycle is not None and self.cycle.more_body:
            self._break_body(self.cycle, error)
            return
        previous = self.cycle
        self.cycle = self._new_cycle(self._scope_without_request(), keep_alive=False)
        self.cycle.transport = _lingering(self.transport, self.loop)
        self.cycle.more_body = False
        self._start_or_queue(previous, cast(ASGI3Application, partial(self._respond, error)))

    def _break_body(self, cycle: RequestResponseCycle, error: Exception) -> None:
        """Pass the error to the application in place of the rest of the body, unless it has responded."""
        cycle.keep_alive, cycle.transport = False, _lingering(cycle.transport, self.loop)
        if cycle.response_complete:
            self.transport.close()
        cycle.scope["state"][BODY_ERROR] = error
        cycle.message_event.set()

    def _scope_without_request(self) -> HTTPScope:
        self.on_message_begin()
        nothing = {"method": "", "path": "", "raw_path": b"", "query_string": b"", "headers": ()}
        return cast(HTTPScope, {**self.scope, **nothing})

    def _new_cycle(self, scope: HTTPScope, *, keep_alive: bool) -> RequestResponseCycle:
        return _ResponseCycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )


class _ResponseCycle(RequestResponseCycle):
    """uvicorn's cycle, but a header is written together with the first part of the body.

    uvicorn writes both on their own, and a system call is a twentieth of a read.
    """

    _writer: "_HeldHeader | None" = None

    async def send(self, message: ASGISendEvent) -> None:
        """Send a part of the response; its header leaves with what follows."""
        if self._writer is None:
            self._writer = _HeldHeader(self.transport)
            self.transport = cast(asyncio.Transport, self._writer)
        await super().send(message)
        if self.response_complete:
            self._writer.flush()


class _HeldHeader:
    """A transport that keeps what is written first until there is more, or no more."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._header: bytes | None = None
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        """Write, the header and what follows it at once."""
        if self._header is None:
            self._header = data
        else:
            header, self._header = self._header, b""
            self._transport.write(header + data)

    def flush(self) -> None:
        """Write the header if nothing has followed."""
        if self._header:
            self.write(b"")

    def write_eof(self) -> None:
        """Write what is left, and say that no more follows."""
        self.flush()
        self._transport.write_eof()

    def close(self) -> None:
        """Write what is left, and close."""
        self.flush()
        self._transport.close()


class _ReadGate(FlowControl):
    """Flow control that resumes reading only while no request is queued.

    uvicorn resumes after each response and whenever a body is asked for, queued requests or not: one
    connection could make the process hold any number of requests.
    """

    def __init__(self, transport: asyncio.Transport, protocol: HttpProtocol) -> None:
        super().__init__(transport)
        self._protocol: HttpProtocol | None = protocol

    def resume_reading(self) -> None:
        """Resume reading, and parse first what has already arrived."""
        protocol = self._protocol
        if self.read_paused and protocol is not None and not protocol.pipeline:
            super().resume_reading()
            protocol.loop.call_soon(protocol.parse_rest)

    def release(self) -> None:
        """Drop the reference to the protocol, which is one half of a cycle."""
        self._protocol = None


def _lingering(transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> asyncio.Transport:
    return cast(asyncio.Transport, _LingeringTransport(transport, loop))


class _LingeringTransport:
    """A transport that stops sending first, and closes a little later.

    What a client sends to a closed connection resets it, and the response is lost. Source: RFC 9112 9.6.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.write, self.is_closing = transport.write, transport.is_closing
        self._transport = transport
        self._loop = loop

    def close(self) -> None:
        """Close once the client does, or has had the time to read the response."""
        if not self._transport.is_closing():
            self._transport.write_eof()
            self._loop.call_later(LINGER_S, self._transport.close)
