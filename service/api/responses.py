"""Successful responses."""

import msgspec

from service.api.http.response import HeaderFields, Response
from service.api.preconditions import encode, entity_tag, is_current
from service.api.requests import OperationRequest

_NO_CONTENT = Response(204)
_LENGTH_0 = (b"content-length", b"0")


def ok(view: msgspec.Struct, headers: HeaderFields = ()) -> Response:
    """Return 200 with a view."""
    return Response(200, encode(view), headers)


def ok_without_body(headers: HeaderFields = ()) -> Response:
    """Return 200 without a body."""
    return Response(200, headers=(*headers, _LENGTH_0))


def created(view: msgspec.Struct, location: str | None = None, headers: HeaderFields = ()) -> Response:
    """Return 201 with a view, and the address of the new resource if it has one."""
    address = ((b"location", location.encode()),) if location else ()
    return Response(201, encode(view), (*address, *headers))


def created_with_etag(view: msgspec.Struct, location: str) -> Response:
    """Return 201 with a view of the new resource, its entity tag and its address."""
    body = encode(view)
    return Response(201, body, ((b"etag", entity_tag(body).encode()), (b"location", location.encode())))


def accepted(view: msgspec.Struct | None = None) -> Response:
    """Return 202 for what will be done later."""
    return Response(202, encode(view) if view is not None else None)


def no_content() -> Response:
    """Return 204."""
    return _NO_CONTENT


def with_etag(view: msgspec.Struct) -> Response:
    """Return 200 with a view and its entity tag."""
    body = encode(view)
    return Response(200, body, ((b"etag", entity_tag(body).encode()),))


def conditional_get(request: OperationRequest, view: msgspec.Struct) -> Response:
    """Return a view with its entity tag, or 304 if the client has this version. Source: RFC 9110 13.1.2."""
    body = encode(view)
    etag = entity_tag(body)
    headers = ((b"etag", etag.encode()),)
    if is_current(request.header(b"if-none-match"), etag):
        return Response(304, headers=headers)
    return Response(200, body, headers)
