"""Errors as RFC 9457 problem documents; the only module that knows their statuses."""

from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from service.api.http.errors import (
    InvalidClient,
    MalformedRequest,
    OAuthError,
    TransportError,
    UnsupportedMediaType,
)
from service.api.http.response import HeaderFields, Response
from service.domain.errors import (
    ErrorKind,
    FieldError,
    InternalError,
    InvalidToken,
    RollcallError,
    SecondFactorRequired,
    ValidationFailed,
)
from service.domain.factors import LoginChallenge, Method
from service.observability.exception_report import ClientDisconnected, log_failure

MEDIA_TYPE: Final = b"application/problem+json"

_MERGE_PATCH: Final = "application/merge-patch+json"
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

_CHALLENGE: Final = Meta(description="Send it with a second factor to `log_in`, within five minutes.")
_METHOD: Final = Meta(extra_json_schema={"x-extensible-enum": [*Method]})
_METHODS: Final = Meta(description="The fields that can answer the challenge.")
_PUBLIC_KEY: Final = Meta(description="The options for `navigator.credentials.get()`, in JSON.")


class Problem(msgspec.Struct, frozen=True):
    """Why a request failed. Source: RFC 9457.

    `code` is stable: programs decide by it. `instance` holds the request id, under which the log has more.
    Only `validation_failed` has `errors`. Only `second_factor_required` has `challenge`, `methods` and, for
    a user with a passkey, `public_key`. `error` repeats the code where OAuth clients look for it.
    """

    type: str
    title: str
    status: Annotated[int, Meta(extra_json_schema={"format": "int32"})]
    detail: str
    instance: str
    code: str
    errors: tuple[FieldError, ...] | UnsetType = UNSET
    error: str | UnsetType = UNSET
    challenge: Annotated[str, _CHALLENGE] | UnsetType = UNSET
    methods: Annotated[list[Annotated[str, _METHOD]], _METHODS] | UnsetType = UNSET
    public_key: Annotated[dict[str, Any], _PUBLIC_KEY] | UnsetType = UNSET


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
        errors=error.errors if isinstance(error, ValidationFailed) else UNSET,
        error=error.code if isinstance(error, OAuthError) else UNSET,
        **(_members_of(error.challenge) if isinstance(error, SecondFactorRequired) else {}),
    )


def _members_of(challenge: LoginChallenge) -> dict[str, Any]:
    """Return what a client needs for the second step of a login."""
    members = {"challenge": challenge.token, "methods": list(challenge.methods)}
    return members if challenge.public_key is None else {**members, "public_key": challenge.public_key}


def problem_body(error: RollcallError, request_id: str) -> bytes:
    """Return the problem document of an error in JSON."""
    return msgspec.json.encode(problem_of(error, request_id))


def problem_headers(error: RollcallError) -> HeaderFields:
    """Return the header fields of an error besides its content type.

    Source: RFC 6750 3 (an error code only if a token was sent); RFC 6749 5.2; RFC 9110 10.2.3, 12.5.1,
    15.5.2; RFC 5789 2.2.
    """
    headers: HeaderFields = ()
    if error.kind is ErrorKind.UNAUTHENTICATED:
        headers += ((b"www-authenticate", _challenge(error)),)
    if isinstance(error, UnsupportedMediaType):
        name = b"accept-patch" if _MERGE_PATCH in error.accepted else b"accept"
        headers += ((name, ", ".join(error.accepted).encode()),)
    if error.retry_after is not None:
        headers += ((b"retry-after", b"%d" % error.retry_after),)
    return headers


def _challenge(error: RollcallError) -> bytes:
    if isinstance(error, InvalidClient):
        return b'Basic realm="rollcall", Bearer'
    return b'Bearer error="invalid_token"' if isinstance(error, InvalidToken) else b"Bearer"


def to_error(exception: Exception) -> RollcallError:
    """Return the error that stands for any exception; an unexpected one is an `InternalError`."""
    if isinstance(exception, RollcallError):
        return exception
    return MalformedRequest() if isinstance(exception, ClientDisconnected) else InternalError()


def problem_response(error: RollcallError, request_id: str, headers: HeaderFields = ()) -> Response:
    """Return an error as a response, with further header fields."""
    return Response(
        status_of(error),
        problem_body(error, request_id),
        (*problem_headers(error), *headers),
        MEDIA_TYPE,
    )


def error_response(exception: Exception, request_id: str, headers: HeaderFields = ()) -> Response:
    """Return the response for any exception, and log it if it is unexpected."""
    error = to_error(exception)
    if isinstance(error, InternalError):
        log_failure(exception, request_id=request_id)
    return problem_response(error, request_id, headers)
