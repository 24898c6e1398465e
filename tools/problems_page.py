"""Render docs/problems.md from the error classes."""

from typing import Final

import msgspec

from service.api.http.problems import problem_body, status_of
from service.domain.errors import ErrorKind, NotFound, RollcallError

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
"""The values of `errors[].code` and their meanings."""


_REMEDIES: Final = {
    ErrorKind.MALFORMED: "Correct the request; the same one fails again.",
    ErrorKind.UNAUTHENTICATED: "Log in, or send a valid token.",
    ErrorKind.FORBIDDEN: "Do not repeat it with these credentials.",
    ErrorKind.NOT_FOUND: "Treat it as absent; nothing tells absence from lack of right.",
    ErrorKind.CONFLICT: "Read the current state, then decide.",
    ErrorKind.PRECONDITION: "Read the resource again, and repeat with its new `ETag`.",
    ErrorKind.INVALID: "Correct what `errors` points at; the same request fails again.",
    ErrorKind.THROTTLED: "Wait `Retry-After` seconds, then repeat.",
    ErrorKind.INTERNAL: "Report the request id; a repetition with the same `Idempotency-Key` is safe.",
    ErrorKind.UNAVAILABLE: "Wait `Retry-After` seconds, then repeat.",
}
"""What a client can do, unless the error has a remedy of its own."""


def all_errors() -> list[type[RollcallError]]:
    """Return every error class that has a code, by status, then by code."""
    found: list[type[RollcallError]] = []
    pending = [RollcallError]
    while pending:
        children = pending.pop().__subclasses__()
        pending += children
        found += [child for child in children if "code" in vars(child)]
    return sorted(found, key=lambda error: (status_of(error), error.code))


def problems_markdown() -> str:
    """Return the text of docs/problems.md."""
    example = msgspec.json.format(problem_body(NotFound(), "01890a5d-ac96-774b-bcce-b302099a8057"), indent=2)
    return _PAGE.format(
        example=example.decode(),
        codes="\n".join(_row_of(error) for error in all_errors()),
        field_codes="\n".join(f"| `{code}` | {meaning} |" for code, meaning in FIELD_CODES.items()),
    )


def _row_of(error: type[RollcallError]) -> str:
    remedy = error.remedy or _REMEDIES[error.kind]
    return f"| `{error.code}` | {status_of(error)} | {error.title} | {error.detail} | {remedy} |"


_PAGE: Final = """\
# Problems

<!-- Generated from service/domain/errors.py and service/api/http/errors.py by `make documents`. -->

Every error is a problem document (RFC 9457), `application/problem+json`:

```json
{example}
```

- `code` is stable: programs decide by it. `title` and `detail` are for people and may change.
- `type` is `urn:rollcall:problem:` and the code. It is a name, not an address: every installation has another
  host, so no address would be both stable and resolvable.
- `instance` holds the request id, which is also sent as `X-Request-Id` and logged with the request.
- `validation_failed` adds `errors`, a list of `{{"pointer", "code", "detail"}}`. `pointer` is a JSON Pointer
  into the body, or `?name` for a query parameter. No error repeats what was sent.
- 401 has `WWW-Authenticate: Bearer`, 405 has `Allow`, 429 and 503 have `Retry-After` in seconds.
- An error other than `outcome_unknown` means that nothing was changed.

## Codes

| code | status | title | detail | what a client does |
|---|---|---|---|---|
{codes}

## Field codes

The values of `errors[].code`.

| code | meaning |
|---|---|
{field_codes}
"""
