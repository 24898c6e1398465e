"""Errors as RFC 9457 problem documents; the only module that knows their statuses."""

from typing import Final

import msgspec

from service.api.http.response import HeaderFields, Response
from service.domain.errors import (
    InternalError,
    InvalidToken,
    Kind,
    MalformedRequest,
    RollcallError,
    ValidationFailed,
)
from service.observability.exception_report import ClientDisconnected, log_failure

MEDIA_TYPE: Final = b"application/problem+json"

_STATUSES: Final = {
    Kind.MALFORMED: 400,
    Kind.UNAUTHENTICATED: 401,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.METHOD_NOT_ALLOWED: 405,
    Kind.NOT_ACCEPTABLE: 406,
    Kind.CONFLICT: 409,
    Kind.PRECONDITION: 412,
    Kind.TOO_LARGE: 413,
    Kind.UNSUPPORTED_MEDIA_TYPE: 415,
    Kind.INVALID: 422,
    Kind.THROTTLED: 429,
    Kind.INTERNAL: 500,
    Kind.UNAVAILABLE: 503,
}


class ProblemError(msgspec.Struct, frozen=True):
    """An error in one field. `pointer` is a JSON Pointer into the body, or `?name` for a query parameter."""

    pointer: str
    code: str
    detail: str


class Problem(msgspec.Struct, frozen=True):
    """Why a request failed. Source: RFC 9457.

    `code` is stable: programs decide by it. `instance` holds the request id, under which the log has more.
    Only `validation_failed` has `errors`.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: list[ProblemError] | msgspec.UnsetType = msgspec.UNSET


def status_of(kind: Kind) -> int:
    """Return the HTTP status of a kind of error."""
    return _STATUSES[kind]


def problem_of(error: RollcallError, request_id: str) -> Problem:
    """Return the problem document of an error. `request_id` is a UUID in canonical form."""
    return Problem(
        type=f"urn:rollcall:problem:{error.code}",
        title=error.title,
        status=status_of(error.kind),
        detail=error.detail,
        instance=f"urn:uuid:{request_id}",
        code=error.code,
        errors=_field_errors(error),
    )


def problem_body(error: RollcallError, request_id: str) -> bytes:
    """Return the problem document of an error in JSON."""
    return msgspec.json.encode(problem_of(error, request_id))


def problem_headers(error: RollcallError) -> HeaderFields:
    """Return the header fields of an error besides its content type.

    Source: RFC 6750 3 (an error code only if a token was sent); RFC 9110 10.2.3, 15.5.2.
    """
    headers: HeaderFields = ()
    if error.kind is Kind.UNAUTHENTICATED:
        challenge = b'Bearer error="invalid_token"' if isinstance(error, InvalidToken) else b"Bearer"
        headers += ((b"www-authenticate", challenge),)
    if error.retry_after is not None:
        headers += ((b"retry-after", b"%d" % error.retry_after),)
    return headers


def to_error(exception: Exception) -> RollcallError:
    """Return the error that stands for any exception; an unexpected one is an `InternalError`."""
    if isinstance(exception, RollcallError):
        return exception
    return MalformedRequest() if isinstance(exception, ClientDisconnected) else InternalError()


def problem_response(error: RollcallError, request_id: str, headers: HeaderFields = ()) -> Response:
    """Return an error as a response, with further header fields."""
    return Response(
        status_of(error.kind),
        problem_body(error, request_id),
        (*problem_headers(error), *headers),
        MEDIA_TYPE,
    )


def error_response(exception: Exception, request_id: str) -> Response:
    """Return the response for any exception, and log it if it is unexpected."""
    error = to_error(exception)
    if isinstance(error, InternalError):
        log_failure(exception, request_id=request_id)
    return problem_response(error, request_id)


def _field_errors(error: RollcallError) -> list[ProblemError] | msgspec.UnsetType:
    if not isinstance(error, ValidationFailed):
        return msgspec.UNSET
    return [ProblemError(fault.pointer, fault.code, fault.detail) for fault in error.faults]
