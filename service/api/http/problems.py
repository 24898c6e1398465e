"""Every refusal as an RFC 9457 problem document; the only place that knows statuses."""

from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap

from service.domain.errors import (
    BodyTooLarge,
    Forbidden,
    InternalError,
    InvalidToken,
    Kind,
    MalformedRequest,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    RateLimited,
    RollcallError,
    Unauthenticated,
    UnsupportedMediaType,
    ValidationFailed,
)
from service.observability.exception_report import ClientDisconnected, log_failure
from service.security.ids import new_id

MEDIA_TYPE: Final = "application/problem+json"

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

_FRAMEWORK_ERRORS: Final[dict[int, type[RollcallError]]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    406: NotAcceptable,
    413: BodyTooLarge,
    415: UnsupportedMediaType,
    429: RateLimited,
}


class ProblemError(msgspec.Struct, frozen=True):
    """One fault in one field. `pointer` is a JSON Pointer into the body, or `?name` for a query parameter."""

    pointer: str
    code: str
    detail: str


class Problem(msgspec.Struct, frozen=True):
    """Why a request was refused. Source: RFC 9457.

    `code` is stable and what programs decide by; `instance` holds the request id, under which the log has
    more; `errors` is there for `validation_failed` only.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: list[ProblemError] | msgspec.UnsetType = msgspec.UNSET


def status_of(kind: Kind) -> int:
    """Give the HTTP status of a kind of refusal."""
    return _STATUSES[kind]


def problem_of(error: RollcallError, request_id: str) -> Problem:
    """Give the problem document of a refusal. `request_id` is a UUID in its canonical form."""
    return Problem(
        type=f"urn:rollcall:problem:{error.code}",
        title=error.title,
        status=status_of(error.kind),
        detail=error.detail,
        instance=f"urn:uuid:{request_id}",
        code=error.code,
        errors=_faults_of(error),
    )


def problem_body(error: RollcallError, request_id: str) -> bytes:
    """Give the problem document of a refusal in JSON."""
    return msgspec.json.encode(problem_of(error, request_id))


def problem_headers(error: RollcallError, *, allow: str | None = None) -> list[tuple[bytes, bytes]]:
    """Give the header fields a refusal needs besides its content type; `allow` is the value for a 405.

    Source: RFC 6750 3 (an error code only when a token was sent); RFC 9110 10.2.1, 10.2.3, 15.5.2.
    """
    headers = []
    if error.kind is Kind.UNAUTHENTICATED:
        challenge = b'Bearer error="invalid_token"' if isinstance(error, InvalidToken) else b"Bearer"
        headers.append((b"www-authenticate", challenge))
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after))
    if allow is not None:
        headers.append((b"allow", allow.encode("latin-1")))
    return headers


def to_error(exc: Exception) -> RollcallError:
    """Give the refusal that stands for any exception; one that nobody expected is an `InternalError`.

    Nothing of a framework's or library's message is kept: Litestar's repeat the query string.
    """
    if isinstance(exc, RollcallError):
        return exc
    if isinstance(exc, ClientDisconnected):
        return MalformedRequest()
    status = exc.status_code if isinstance(exc, HTTPException) else 500
    if status in _FRAMEWORK_ERRORS:
        return _FRAMEWORK_ERRORS[status]()
    return MalformedRequest() if 400 <= status < 500 else InternalError()


def answer_exception(request: Request[Any, Any, Any], exc: Exception) -> Response[bytes]:
    """Answer any exception with its problem document, and log it when it was not expected."""
    error = to_error(exc)
    request_id = request.scope.get("state", {}).get("request_id") or str(new_id())
    if isinstance(error, InternalError):
        log_failure(exc, request_id=request_id)
    allow = (exc.headers or {}).get("allow") if isinstance(exc, HTTPException) else None
    return Response(
        problem_body(error, request_id),
        status_code=status_of(error.kind),
        media_type=MEDIA_TYPE,
        headers={name.decode(): value.decode() for name, value in problem_headers(error, allow=allow)},
    )


exception_handlers: Final[ExceptionHandlersMap] = {
    HTTPException: answer_exception,
    Exception: answer_exception,
}
"""What `Litestar(exception_handlers=…)` takes."""


def _faults_of(error: RollcallError) -> list[ProblemError] | msgspec.UnsetType:
    if not isinstance(error, ValidationFailed):
        return msgspec.UNSET
    return [ProblemError(fault.pointer, fault.code, fault.detail) for fault in error.faults]


_ADVICE: Final = {
    Kind.MALFORMED: "Correct the request; the same one will be refused again.",
    Kind.UNAUTHENTICATED: "Log in, or send a valid token.",
    Kind.FORBIDDEN: "Do not repeat it with these credentials.",
    Kind.NOT_FOUND: "Treat it as absent; nothing tells absence from lack of right.",
    Kind.METHOD_NOT_ALLOWED: "Use a method that `Allow` names.",
    Kind.NOT_ACCEPTABLE: "Accept `application/json`.",
    Kind.CONFLICT: "Look at the current state, then decide.",
    Kind.PRECONDITION: "Read the resource again, and repeat with its new `ETag`.",
    Kind.TOO_LARGE: "Send less.",
    Kind.UNSUPPORTED_MEDIA_TYPE: "Send `Content-Type: application/json`, in UTF-8, uncompressed.",
    Kind.INVALID: "Correct what `errors` points at; the same request will be refused again.",
    Kind.THROTTLED: "Wait `Retry-After` seconds, then repeat.",
    Kind.INTERNAL: "Report the request id; a repetition with the same `Idempotency-Key` is safe.",
    Kind.UNAVAILABLE: "Wait `Retry-After` seconds, then repeat.",
}

_SPECIAL_ADVICE: Final = {
    "invalid_cursor": "Start again at the first page.",
    "invalid_credentials": "Ask for login id and password again; nothing tells which one was wrong.",
    "reauthentication_required": "Log in again, and repeat with the new token.",
    "password_change_required": "Change the password with `PUT /v1/users/me/password`, then repeat.",
    "login_id_taken": "Choose another login id.",
    "last_admin": "Make another active account an administrator first.",
    "request_in_progress": "Wait `Retry-After` seconds, then repeat with the same `Idempotency-Key`.",
    "idempotency_key_reused": "Use a new `Idempotency-Key` for a new request.",
    "outcome_unknown": "Look whether the change is there before you repeat it.",
}

FIELD_CODES: Final = {
    "missing_field": "The field is required and absent.",
    "unknown_field": "There is no such field.",
    "wrong_type": "The value is of another JSON type.",
    "too_short": "The text or list is too short.",
    "too_long": "The text or list is too long.",
    "out_of_range": "The number is outside its range.",
    "invalid_value": "The value breaks the field's rule.",
    "not_settable": "This caller may not set the field, or not for this account.",
    "conflicting_fields": "The field cannot stand beside another one that was sent.",
    "password_too_short": "The password has too few characters.",
    "password_too_long": "The password has too many characters or bytes.",
    "password_blocked": "The password is common, or made from the login id, the name or the service's name.",
    "password_invalid_characters": "The password has control characters or is not valid Unicode.",
    "wrong_password": "The current password is wrong.",
}
"""What `errors[].code` can be, and what it means."""


def all_errors() -> list[type[RollcallError]]:
    """Give every refusal that has a code, by status, then by code."""
    found: list[type[RollcallError]] = []
    waiting = [RollcallError]
    while waiting:
        children = waiting.pop().__subclasses__()
        waiting += children
        found += [child for child in children if "code" in vars(child)]
    return sorted(found, key=lambda error: (status_of(error.kind), error.code))


def problems_markdown() -> str:
    """Give docs/problems.md, made from the error classes."""
    return _DOCUMENT.format(
        codes="\n".join(_row_of(error) for error in all_errors()),
        field_codes="\n".join(f"| `{code}` | {meaning} |" for code, meaning in FIELD_CODES.items()),
    )


def _row_of(error: type[RollcallError]) -> str:
    meaning = " ".join((error.__doc__ or "").split()).partition(" Source:")[0]
    advice = _SPECIAL_ADVICE.get(error.code, _ADVICE[error.kind])
    return f"| `{error.code}` | {status_of(error.kind)} | {error.title} | {meaning} | {advice} |"


_DOCUMENT: Final = """\
# Problems

<!-- Made from service/domain/errors.py and service/api/http/problems.py; `make check` compares. -->

Every refusal is a problem document (RFC 9457), `application/problem+json`:

```json
{{
  "type": "urn:rollcall:problem:not_found",
  "title": "There is no such resource",
  "status": 404,
  "detail": "There is no such resource.",
  "instance": "urn:uuid:01890a5d-ac96-774b-bcce-b302099a8057",
  "code": "not_found"
}}
```

- `code` is stable: programs decide by it. `title` and `detail` are for people, and may change.
- `type` is `urn:rollcall:problem:` and the code. It is a name and not an address: every installation has
  another host, so no address would be both stable and resolvable.
- `instance` holds the request id, also sent as `X-Request-Id`; the service's log has more under it.
- `validation_failed` adds `errors`, a list of `{{"pointer", "code", "detail"}}`. `pointer` is a JSON Pointer
  into the body, or `?name` for a query parameter. What was sent is never repeated.
- 401 carries `WWW-Authenticate: Bearer`, 405 `Allow`, 429 and 503 `Retry-After` in seconds.
- Unless it is `outcome_unknown`, nothing of what a refused request asked for was done.

## Codes

| code | status | title | meaning | what a client does |
|---|---|---|---|---|
{codes}

## Codes of single fields

These stand in `errors[].code`.

| code | meaning |
|---|---|
{field_codes}
"""
