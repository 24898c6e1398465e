"""docs/problems.md: every error code, its status, its meaning, and what a client does about it."""

from typing import Final

from service.api.http.problems import status_of
from service.domain.errors import ErrorKind, RollcallError

_ADVICE: Final = {
    ErrorKind.MALFORMED: "Correct the request; the same one will fail again.",
    ErrorKind.UNAUTHENTICATED: "Log in, or send a valid token.",
    ErrorKind.FORBIDDEN: "Do not repeat the request with these credentials.",
    ErrorKind.NOT_FOUND: "Treat it as absent; a missing right gives the same response.",
    ErrorKind.CONFLICT: "Read the current state, then decide.",
    ErrorKind.PRECONDITION: "Read the resource again, and repeat with its new `ETag`.",
    ErrorKind.INVALID: "Correct what `errors` points at; the same request will fail again.",
    ErrorKind.THROTTLED: "Wait `Retry-After` seconds, then repeat.",
    ErrorKind.INTERNAL: "Report the request id; a repetition with the same `Idempotency-Key` is safe.",
    ErrorKind.UNAVAILABLE: "Wait `Retry-After` seconds, then repeat.",
}

FIELD_CODES: Final = {
    "missing_field": "The field is required and absent.",
    "unknown_field": "There is no such field.",
    "wrong_type": "The value is of another JSON type.",
    "too_short": "The text or list is too short.",
    "too_long": "The text or list is too long.",
    "too_large": "The object is too large as JSON.",
    "out_of_range": "The number is outside its range.",
    "invalid_value": "The value breaks the field's rule.",
    "not_settable": "This caller may not set the field, or not for this user.",
    "not_enabled": "The service is not configured for what the field asks for.",
    "conflicting_fields": "The field excludes another one that was sent.",
    "password_too_short": "The password has too few characters.",
    "password_too_long": "The password has too many characters or bytes.",
    "password_blocked": "The password is common, or made from the login id, the name or the service's name.",
    "password_invalid_characters": "The password has control characters or is not valid Unicode.",
    "wrong_password": "The current password is wrong.",
    "wrong_code": "The code is not the current one of the authenticator app.",
    "already_enrolled": "The passkey is enrolled already.",
    "no_factor": "The user has no second factor.",
    "too_many": "The user has as many of these as it may have.",
}
"""Every value of `errors[].code`, and its meaning."""


def all_errors() -> list[type[RollcallError]]:
    """Return every error class with a code, by status, then by code."""
    classes: list[type[RollcallError]] = []
    queue = [RollcallError]
    while queue:
        children = queue.pop().__subclasses__()
        queue += children
        classes += [child for child in children if "code" in vars(child)]
    return sorted(classes, key=lambda error: (status_of(error), error.code))


def problems_markdown() -> str:
    """Return docs/problems.md, generated from the error classes."""
    return _DOCUMENT.format(
        codes="\n".join(_row(error) for error in all_errors()),
        field_codes="\n".join(f"| `{code}` | {meaning} |" for code, meaning in FIELD_CODES.items()),
    )


def _row(error: type[RollcallError]) -> str:
    meaning = " ".join((error.__doc__ or "").split()).partition(" Source:")[0]
    advice = error.remedy or _ADVICE[error.kind]
    return f"| `{error.code}` | {status_of(error)} | {error.title} | {meaning} | {advice} |"


_DOCUMENT: Final = """\
# Problems

<!-- Generated from the error classes by service/api/openapi/problems_page.py; `make check` compares. -->

Every error is a problem document (RFC 9457), `application/problem+json`:

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
- `type` is `urn:rollcall:problem:` and the code. It is a name, not an address: every installation has its
  own host, so no address would be both stable and resolvable.
- `instance` holds the request id, also sent as `X-Request-Id`; the service's log has more under it.
- `validation_failed` adds `errors`, a list of `{{"pointer", "code", "detail"}}`. `pointer` is a JSON Pointer
  into the body, or `?name` for a query parameter. The value itself is never repeated.
- `second_factor_required` adds `challenge`, `methods` and, for a user with a passkey, `public_key`: what the
  second step of the login needs.
- 401 carries `WWW-Authenticate: Bearer`, 405 `Allow`, 429 and 503 `Retry-After` in seconds.
- Unless the code is `outcome_unknown` or `internal_error`, a failed request has changed nothing but counts
  of attempts.

## Codes

| code | status | title | meaning | what a client does |
|---|---|---|---|---|
{codes}

## Codes of single fields

The values of `errors[].code`.

| code | meaning |
|---|---|
{field_codes}
"""
