"""A request as its controller sees it: admitted, read and checked.

The middleware holds a routed request to its operation, in this order: what can be answered, who calls,
whether the caller may, the query, the body. So 404 and 405 come before 401, 401 before any complaint about a
body.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl
from uuid import UUID

import msgspec
from litestar import HttpMethod, Request
from litestar.datastructures import Headers
from litestar.enums import ScopeType
from litestar.handlers import HTTPRouteHandler
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from service.api.authentication import Authenticator
from service.api.http.client_address import network_of
from service.api.http.edge import read_body
from service.api.http.errors import MalformedRequest, NotAcceptable
from service.api.http.headers import Fields
from service.api.http.query_params import read_query, reject_query
from service.api.http.strict_json import decode, require_json
from service.api.injection import Parts
from service.api.operations import FORM, JSON, Operation, endpoint
from service.api.responses import Answer, reject_if_match
from service.domain.callers import ANONYMOUS, Caller
from service.domain.errors import NotFound
from service.domain.events import AuditContext
from service.domain.ids import parse_id

StructT = TypeVar("StructT", bound=msgspec.Struct)

_USER_AGENT_MAX = 255
_CONDITIONAL = frozenset({"PUT", "PATCH", "DELETE"})


@dataclass(slots=True, eq=False)
class OperationRequest:
    """One admitted request."""

    operation: Operation
    caller: Caller
    scope: HTTPScope
    fields: Fields
    query_value: msgspec.Struct | None = None
    body_value: msgspec.Struct | None = None
    body_bytes: bytes = b""

    @property
    def headers(self) -> Headers:
        """The header fields in the framework's form."""
        return Headers.from_scope(self.scope)

    @property
    def query_string(self) -> bytes:
        """The query as it was sent."""
        return self.scope["query_string"]

    @property
    def path(self) -> str:
        """The path as it was sent, decoded."""
        return self.scope["path"]

    @property
    def path_params(self) -> dict[str, Any]:
        """What the path template has placeholders for."""
        return self.scope["path_params"]

    @property
    def ip(self) -> str | None:
        """The address of the client."""
        ip: str | None = self.scope["state"]["client_ip"]
        return ip

    @property
    def request_id(self) -> str:
        """What the request is known by."""
        return str(self.scope["state"]["request_id"])

    def body(self, type_: type[StructT]) -> StructT:
        """Give the checked body, which is of the type that the operation declares."""
        return _of_type(self.body_value, type_)

    def query(self, type_: type[StructT]) -> StructT:
        """Give the checked query, which is of the type that the operation declares."""
        return _of_type(self.query_value, type_)

    def subject_id(self, name: str = "user_id") -> UUID:
        """Give the account that the path names, `me` included, once the caller may go there.

        Raises:
            NotFound: it cannot be an id, or is another's and the caller a plain user.
        """
        text = self.path_params[name]
        subject_id = self.caller.user_id if text == "me" else parse_id(text)
        if subject_id is None:
            raise NotFound
        self.operation.access.authorize_for(self.caller, subject_id)
        return subject_id

    def id_in_path(self, name: str) -> UUID:
        """Give the id that the path names.

        Raises:
            NotFound: it cannot be one.
        """
        found = parse_id(self.path_params[name])
        if found is None:
            raise NotFound
        return found

    @property
    def context(self) -> AuditContext:
        """Where the request comes from."""
        return AuditContext(
            self.caller,
            ip=self.ip,
            network=network_of(self.ip),
            request_id=self.request_id,
            user_agent=_printable(self.headers.get("user-agent")),
        )


def call_of(request: Request[Any, Any, Any]) -> OperationRequest:
    """Give the call that the middleware made of a request."""
    return cast(OperationRequest, request.scope["state"]["call"])


DirectEndpoint = Callable[[OperationRequest, Parts], Awaitable[Answer]]


def direct_endpoint(
    method: HttpMethod, path: str, operation: Operation
) -> Callable[[DirectEndpoint], HTTPRouteHandler]:
    """Make a function of the call and the parts the endpoint of an operation.

    The middleware runs it itself once the call is admitted, as the framework's injection and responses cost
    more than the hottest operations do. Everything else holds for it as for any other endpoint.
    """

    def decorate(answer: DirectEndpoint) -> HTTPRouteHandler:
        async def run_by_admission() -> None:
            raise RuntimeError("a direct endpoint is not the framework's to run")

        return endpoint(method, path, operation, direct=answer)(run_by_admission)

    return decorate


class OperationPipeline(ASGIMiddleware):
    """Holds every routed request to the operation that its route declares; a route without one is denied."""

    scopes = (ScopeType.HTTP,)

    def __init__(
        self, authenticator: Authenticator, parts: Parts, overridden: Mapping[str, Operation]
    ) -> None:
        self._authenticator = authenticator
        self._parts = parts
        self._overridden = overridden

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Make the call, or refuse it."""
        http = cast(HTTPScope, scope)
        opt = http["route_handler"].opt
        operation = opt.get("operation")
        if isinstance(operation, Operation):
            if (direct := opt.get("direct")) is not None:
                await self.answer_directly(http, receive, send, operation, direct)
                return
            operation = self._overridden.get(operation.id, operation)
            http["state"]["call"] = await self._call(http, receive, operation)
            try:
                await next_app(scope, receive, send)
            finally:
                del http["state"]["call"]  # which keeps the scope: a circle for the garbage collector
        elif http["method"] == "OPTIONS":
            await _tell_methods(http, send)
        else:
            raise NotFound

    async def answer_directly(
        self, scope: HTTPScope, receive: Receive, send: Send, operation: Operation, direct: DirectEndpoint
    ) -> None:
        """Make the call of a direct endpoint and answer it, or refuse it."""
        call = await self._call(scope, receive, self._overridden.get(operation.id, operation))
        await (await direct(call, self._parts)).send(send)

    async def _call(self, scope: HTTPScope, receive: Receive, operation: Operation) -> OperationRequest:
        fields: Fields = scope["state"]["fields"]
        _check_accept(scope, fields, operation)
        caller = await self._caller(fields, operation)
        scope["state"]["caller_id"] = caller.id
        operation.access.authorize(caller)
        if scope["method"] in _CONDITIONAL and not operation.is_conditional_write:
            reject_if_match(Headers.from_scope(scope))
        query_value = _query_of(scope["query_string"], operation)
        if operation.body is None:
            if scope["method"] != "GET":
                await _refuse_body(scope, receive, fields)
            return OperationRequest(operation, caller, scope, fields, query_value)
        body = await read_body(scope, receive, limit_bytes=operation.body_limit_bytes)
        return OperationRequest(
            operation, caller, scope, fields, query_value, _body_of(body, fields, operation), body
        )

    async def _caller(self, fields: Fields, operation: Operation) -> Caller:
        if operation.access.public and not operation.access.optional:
            return ANONYMOUS
        authorization = fields.get(b"authorization")
        return await self._authenticator.caller_of(
            authorization.decode("latin-1") if authorization is not None else None
        )


async def _tell_methods(scope: HTTPScope, send: Send) -> None:
    """Answer OPTIONS. The framework's own answer forgets methods of handlers that share a path."""
    template = scope.get("path_template")
    routes = [route for route in scope["litestar_app"].routes if route.path_format == template]
    methods = sorted({method for route in routes for method in getattr(route, "methods", ())})
    await send(
        {
            "type": "http.response.start",
            "status": 204,
            "headers": [(b"allow", ", ".join(methods).encode())],
        }
    )
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _of_type(value: msgspec.Struct | None, type_: type[StructT]) -> StructT:
    if not isinstance(value, type_):
        raise TypeError(f"the operation does not declare {type_.__name__}")
    return value


def _query_of(query_string: bytes, operation: Operation) -> msgspec.Struct | None:
    if operation.query is None:
        reject_query(query_string)
        return None
    return read_query(query_string, operation.query)


async def _refuse_body(scope: HTTPScope, receive: Receive, fields: Fields) -> None:
    """Refuse a body where none is taken, as nothing is ever ignored; a client that always sends `{}` may."""
    length = fields.get(b"content-length", b"0")
    is_empty = length == b"0" and b"transfer-encoding" not in fields
    if not is_empty and (length != b"2" or await read_body(scope, receive, limit_bytes=2) != b"{}"):
        raise MalformedRequest("This operation takes no body.")


def _body_of(body: bytes, fields: Fields, operation: Operation) -> msgspec.Struct | None:
    if operation.body is None:
        return None
    others = tuple(name.encode() for name in operation.body_types if name != JSON)
    media_type = require_json(
        fields.get(b"content-type"), also=others, content_encoding=fields.get(b"content-encoding")
    )
    if media_type == FORM.encode():
        return _form_of(body, operation.body)
    return decode(body, operation.body)


def _form_of(body: bytes, type_: type[StructT]) -> StructT:
    """Read a form. An unknown field is ignored, as the OAuth standards want it. Source: RFC 6749 3.2."""
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError:
        raise MalformedRequest("The form could not be read.") from None
    values = dict(pairs)
    if len(values) != len(pairs):
        raise MalformedRequest("A form field is repeated.")
    known = {name: value for name, value in values.items() if name in type_.__struct_fields__}
    try:
        return msgspec.convert(known, type_)
    except msgspec.ValidationError:
        return decode(msgspec.json.encode(known), type_)  # tells the fault


def _check_accept(scope: HTTPScope, fields: Fields, operation: Operation) -> None:
    """Refuse a caller that takes nothing the operation has. Source: RFC 9110 12.5.1."""
    if fields.get(b"accept", b"*/*") == b"*/*":
        return
    accept = Headers.from_scope(scope).get("accept", "")
    if not accept or "*/*" in accept:
        return
    own = {success.media_type for success in operation.answers.values()}
    ranges = [part.split(";")[0].strip().lower() for part in accept.split(",")]
    wanted = own | {f"{media_type.split('/')[0]}/*" for media_type in own}
    if not wanted.intersection(ranges):
        raise NotAcceptable


def _printable(user_agent: str | None) -> str | None:
    """Keep what a person can read of a User-Agent, which anybody can make up."""
    if user_agent is None:
        return None
    return "".join(character for character in user_agent if " " <= character <= "~")[:_USER_AGENT_MAX]
