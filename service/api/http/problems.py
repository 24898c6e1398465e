"""Errors as RFC 9457 problem documents; the one place that maps them to statuses."""

from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap

from service.api.http.errors import (
    BodyTooLarge,
    MalformedRequest,
    MethodNotAllowed,
    NotAcceptable,
    TransportError,
    UnsupportedMediaType,
)
from service.domain.errors import (
    ErrorKind,
    FieldError,
    Forbidden,
    InternalError,
    InvalidToken,
    NotFound,
    RollcallError,
    Unauthenticated,
    ValidationFailed,
)
from service.observability.exception_report import ClientDisconnected, log_failure
from service.security.ids import new_id

MEDIA_TYPE: Final = "application/problem+json"

_STATUSES: Final = {
    ErrorKind.MALFORMED: 400,
    ErrorKind.UNAUTHENTICATED: 401,
    ErrorKind.FORBIDDEN: 403,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.CONFLICT: 409,
    ErrorKind.PRECONDITION: 412,
    ErrorKind.INVALID: 422,
    ErrorKind.THROTTLED: 429,
    ErrorKind.INTERNAL: 500,
    ErrorKind.UNAVAILABLE: 503,
}

_FRAMEWORK_ERRORS: Final[dict[int, type[RollcallError]]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    406: NotAcceptable,
    413: BodyTooLarge,
    415: UnsupportedMediaType,
}


class Problem(msgspec.Struct, frozen=True):
    """Why a request failed. Source: RFC 9457.

    `code` is stable and what programs decide by; `instance` holds the request id, under which the log has
    more; `errors` is there for `validation_failed` only.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: tuple[FieldError, ...] | msgspec.UnsetType = msgspec.UNSET


def status_of(error: RollcallError | type[RollcallError]) -> int:
    """Return the HTTP status of an error."""
    error_type = error if isinstance(error, type) else type(error)
    return error_type.status if issubclass(error_type, TransportError) else _STATUSES[error_type.kind]


def problem_of(error: RollcallError, request_id: str) -> Problem:
    """Return the problem document of an error. `request_id` is a UUID in canonical form."""
    return Problem(
        type=f"urn:rollcall:problem:{error.code}",
        title=error.title,
        status=status_of(error),
        detail=error.detail,
        instance=f"urn:uuid:{request_id}",
        code=error.code,
        errors=error.errors if isinstance(error, ValidationFailed) else msgspec.UNSET,
    )


def problem_body(error: RollcallError, request_id: str) -> bytes:
    """Return the problem document of an error as JSON."""
    return msgspec.json.encode(problem_of(error, request_id))


def problem_headers(error: RollcallError, *, allow: str | None = None) -> list[tuple[bytes, bytes]]:
    """Return the header fields of an error besides its content type; `allow` is the value for a 405.

    Source: RFC 6750 3 (an error code only if a token was sent); RFC 9110 10.2.1, 10.2.3, 15.5.2.
    """
    headers = []
    if error.kind is ErrorKind.UNAUTHENTICATED:
        challenge = b'Bearer error="invalid_token"' if isinstance(error, InvalidToken) else b"Bearer"
        headers.append((b"www-authenticate", challenge))
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after))
    if allow is not None:
        headers.append((b"allow", allow.encode("latin-1")))
    return headers


def to_error(exc: Exception) -> RollcallError:
    """Return the error for any exception; an unexpected one becomes an `InternalError`.

    Messages of frameworks and libraries are dropped: Litestar's repeat the query string.
    """
    if isinstance(exc, RollcallError):
        return exc
    if isinstance(exc, ClientDisconnected):
        return MalformedRequest()
    status = exc.status_code if isinstance(exc, HTTPException) else 500
    if status in _FRAMEWORK_ERRORS:
        return _FRAMEWORK_ERRORS[status]()
    return MalformedRequest() if 400 <= status < 500 else InternalError()


def problem_response(request: Request[Any, Any, Any], exc: Exception) -> Response[bytes]:
    """Return the problem document of an exception; log it if it was unexpected."""
    error = to_error(exc)
    request_id = request.scope.get("state", {}).get("request_id") or str(new_id())
    if isinstance(error, InternalError):
        log_failure(exc, request_id=request_id)
    allow = (exc.headers or {}).get("allow") if isinstance(exc, HTTPException) else None
    return Response(
        problem_body(error, request_id),
        status_code=status_of(error),
        media_type=MEDIA_TYPE,
        headers={name.decode(): value.decode() for name, value in problem_headers(error, allow=allow)},
    )


exception_handlers: Final[ExceptionHandlersMap] = {
    HTTPException: problem_response,
    Exception: problem_response,
}
"""The `exception_handlers` argument of `Litestar`."""
