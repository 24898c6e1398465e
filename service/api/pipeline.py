"""The path of every request: route, read, authenticate, authorize, parse, inject, serve, respond.

The order decides which error a request with several gets: 404 and 405, then 401 without a token, a body that
is too long (413), 401 and 403, a subject that the caller may not see (404), a login that is too old (403),
preconditions, query, body.

`Accept` is never a reason to refuse. Source: RFC 9110 12.4.1.
"""

from datetime import timedelta
from typing import cast
from uuid import UUID

import msgspec
from litestar.types import HTTPScope, Receive, Scope, Send

from service.api.authentication import Authenticator
from service.api.cookies import BY_COOKIE, CookieSessions, with_cookie_cleared
from service.api.dispatch import ME, USER_ID, Resource, RouteTable
from service.api.http.body import read_body, reject_body
from service.api.http.cycle import CACHEABLE_FOR
from service.api.http.errors import InvalidClient, MethodNotAllowed
from service.api.http.forms import decode_form, form_field
from service.api.http.headers import HeaderMap
from service.api.http.problems import error_response, problem_response
from service.api.http.query_params import read_query, reject_query
from service.api.http.response import Response
from service.api.http.strict_json import decode, media_type_of, require_media_type
from service.api.idempotency import idempotency_key_of
from service.api.operations import FORM, JSON, Operation
from service.api.preconditions import CONDITIONAL_WRITES, reject_if_match
from service.api.requests import OperationRequest
from service.domain.callers import ANONYMOUS, Caller
from service.domain.errors import InvalidToken, NotFound, Unauthenticated
from service.domain.ids import parse_id


class OperationPipeline:
    """The application inside the edge: serves every operation as it is declared."""

    def __init__(
        self,
        routes: RouteTable,
        authenticator: Authenticator,
        *,
        step_up_ttl: timedelta,
        cookies: CookieSessions | None = None,
    ) -> None:
        self._routes = routes
        self._authenticator = authenticator
        self._cookies = cookies or CookieSessions(is_enabled=False)
        self._step_up_ttl = step_up_ttl

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one HTTP request, with a problem document for every error."""
        http = cast(HTTPScope, scope)
        try:
            response = await self._respond(http, receive)
        except Exception as error:  # noqa: BLE001 - every exception is answered, the unexpected ones logged
            response = error_response(error, http["state"]["request_id"])
            if isinstance(error, InvalidToken) and BY_COOKIE in http["state"]:
                response = with_cookie_cleared(response)
        await response.send(send)

    async def _respond(self, scope: HTTPScope, receive: Receive) -> Response:
        state = scope["state"]
        resource, segment = self._routes.find(scope["path"])
        route = resource.route_for(scope["method"])
        if route is None:
            return _respond_without_route(resource, scope)
        operation, fields = route.operation, state["fields"]
        state["route"] = operation.path
        if (authorization := self._cookies.authorization_in(fields, scope["method"])) is not None:
            fields[b"authorization"] = authorization
            state[BY_COOKIE] = True
        _require_token(fields, operation)
        body = await _read_body(operation, fields, receive)
        caller = await self._authenticate(fields, body, operation)
        state["caller_id"] = caller.id
        operation.access.authorize(caller)
        subject_id = _authorize_subject(operation, resource.placeholder, segment, caller)
        operation.access.require_recent_login(caller, subject_id, self._step_up_ttl)
        request = OperationRequest(operation, caller, scope, fields, subject_id)
        await _parse(request, body, receive)
        response = await route.serve(request)
        if operation.cacheable_for is not None and response.status == 200:
            state[CACHEABLE_FOR] = operation.cacheable_for
        return response

    async def _authenticate(self, fields: HeaderMap, body: bytes | None, operation: Operation) -> Caller:
        """Return the caller, once the body is there: the client decides how long that takes."""
        if operation.access.public and not operation.access.optional:
            return ANONYMOUS
        header = fields.get(b"authorization")
        authorization = header.decode("latin-1") if header is not None else None
        if not operation.authenticates_client:
            return await self._authenticator.authenticate(authorization)
        secret = _client_secret_in(body, fields) if authorization is None else None
        caller = await self._authenticator.authenticate_client(authorization, secret)
        if caller is ANONYMOUS and not operation.access.public:
            raise InvalidClient
        return caller


def _respond_without_route(resource: Resource, scope: HTTPScope) -> Response:
    """Answer OPTIONS; reject every other method. Source: RFC 9110 9.3.7, 15.5.6."""
    if scope["method"] == "OPTIONS":
        scope["state"]["route"] = resource.path
        return Response(204, headers=resource.headers)
    return problem_response(MethodNotAllowed(), scope["state"]["request_id"], resource.headers)


def _authorize_subject(
    operation: Operation, placeholder: str | None, segment: str, caller: Caller
) -> UUID | None:
    """Return the id in the path; for a user, once the caller is authorized for it.

    Raises:
        NotFound: it is no id, or the user is another one and the caller a plain user.
    """
    if placeholder is None:
        return None
    is_user = placeholder == USER_ID
    subject_id = caller.user_id if is_user and segment == ME else parse_id(segment)
    if subject_id is None:
        raise NotFound
    if is_user:
        operation.access.authorize_for(caller, subject_id)
    return subject_id


def _require_token(fields: HeaderMap, operation: Operation) -> None:
    """Reject a request that needs a token and has none, before its body is read."""
    needs_header = not (operation.access.public or operation.authenticates_client)
    if needs_header and b"authorization" not in fields:
        raise Unauthenticated


def _client_secret_in(body: bytes | None, fields: HeaderMap) -> str | None:
    if not body or media_type_of(fields.get(b"content-type")) != FORM:
        return None
    return form_field(body, "client_secret")


async def _read_body(operation: Operation, fields: HeaderMap, receive: Receive) -> bytes | None:
    if operation.body is None:
        return None
    return await read_body(fields, receive, limit_bytes=operation.body_limit_bytes)


async def _parse(request: OperationRequest, body: bytes | None, receive: Receive) -> None:
    operation, method, fields = request.operation, request.scope["method"], request.fields
    if operation.is_forwarded:
        return
    if method in CONDITIONAL_WRITES and not operation.is_conditional_write:
        reject_if_match(request.if_match)
    if operation.query is not None:
        request.query_value = read_query(request.scope["query_string"], operation.query)
    else:
        reject_query(request.scope["query_string"])
    if operation.body is not None and body is not None:
        request.body_value = _decode_body(body, fields, operation.body, operation.body_types)
        if operation.is_idempotent_by_key:
            request.idempotency_key = idempotency_key_of(request)
    elif method != "GET":
        await reject_body(fields, receive)


def _decode_body(
    body: bytes, fields: HeaderMap, type_: type[msgspec.Struct], media_types: tuple[str, ...]
) -> msgspec.Struct:
    accepted = media_types if JSON in media_types else (*media_types, JSON)
    media_type = require_media_type(fields.get(b"content-type"), accepted, fields.get(b"content-encoding"))
    return decode_form(body, type_) if media_type == FORM else decode(body, type_)
