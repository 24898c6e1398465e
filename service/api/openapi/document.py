"""The OpenAPI document, generated from the declared operations and their schemas.

Source: OpenAPI Specification 3.1.1.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from service import __version__
from service.api.cookies import COOKIE
from service.api.http.errors import (
    BodyTooLarge,
    HeaderTooLarge,
    InvalidClient,
    MalformedJson,
    MalformedRequest,
    TooManyConnections,
    UnsupportedMediaType,
)
from service.api.openapi.component_schemas import SchemaNode, Schemas, component_schemas
from service.api.openapi.parameters import parameters_of
from service.api.openapi.responses import HEADERS, content_of, responses_of
from service.api.operations import Operation
from service.api.preconditions import CONDITIONAL_WRITES
from service.domain.errors import (
    DatabaseUnavailable,
    FactorEnrollmentRequired,
    Forbidden,
    IdempotencyKeyReused,
    InternalError,
    InvalidCursor,
    InvalidToken,
    NotFound,
    OutcomeUnknown,
    PasswordChangeRequired,
    PreconditionFailed,
    ReauthenticationRequired,
    RequestInProgress,
    RollcallError,
    SchemaBehind,
    Unauthenticated,
    ValidationFailed,
)
from service.domain.keys import Scope

_TAGS: Mapping[str, str] = {
    "users": "Users. In a path, `me` stands for the caller's own id.",
    "passwords": "Changing, setting and resetting passwords.",
    "sessions": "Logging in and out, and the sessions between.",
    "factors": "Second factors: authenticator apps, passkeys and recovery codes.",
    "introspection": "What a token stands for, and its revocation, for other services (RFC 7662, RFC 7009).",
    "tokens": "Access tokens that other services verify by themselves (RFC 9068), and their keys.",
    "keys": "API keys of other services.",
    "events": "The audit trail.",
    "operations": "For operators: health, metrics and this document.",
}
"""Tag descriptions, in reading order."""

_INFO: Final[SchemaNode] = {
    "title": "Rollcall",
    "version": __version__,
    "summary": "Accounts, logins, sessions and introspection.",
    "description": """\
Send `Authorization: Bearer TOKEN` with a session token or an API key. Bodies are JSON; whatever is not
documented here is rejected, never ignored. Every error is a problem document (RFC 9457): decide by its
`code`. Listings come in pages: continue with `next_cursor` or the `Link` header. Every response has
`X-Request-Id`.""",
    "contact": {"name": "The operator of this service"},
    "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
}

_SECURITY_SCHEMES: Final[Mapping[str, SchemaNode]] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A session token, `rcs_…`, from `log_in` (`session`), or an API key, "
        "`rck_…`, with the scopes it was created with: " + ", ".join(f"`{scope}`" for scope in Scope) + ".",
    },
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE.decode("ascii"),
        "description": "A session of a page in a browser, from `log_in` with `cookie`; not together with "
        "`Authorization`. Anything but GET and HEAD has to come from a page of an allowed origin. Ignored "
        "unless `ROLLCALL_HTTP__COOKIES` is on.",
    },
    "client": {
        "type": "http",
        "scheme": "basic",
        "description": "For OAuth clients: the API key's id, or any other user name, and the API "
        "key as the password.",
    },
}
_ALWAYS: Final = (
    MalformedRequest,
    HeaderTooLarge,
    InternalError,
    TooManyConnections,
    DatabaseUnavailable,
    SchemaBehind,
)


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the OpenAPI document of the documented ones of some operations."""
    documented = [operation for operation in operations if operation.is_documented]
    documented.sort(key=lambda operation: (operation.path, operation.method))
    tags = {operation.tag for operation in documented}
    schemas = component_schemas(documented)
    paths: dict[str, SchemaNode] = {}
    for operation in documented:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": _INFO,
        "servers": [{"url": "/"}],
        "tags": [{"name": tag, "description": about} for tag, about in _TAGS.items() if tag in tags],
        "paths": paths,
        "components": {"schemas": schemas, "headers": HEADERS, "securitySchemes": _SECURITY_SCHEMES},
    }


def errors_of(operation: Operation) -> list[type[RollcallError]]:
    """Return every error of an operation: its own, and those that follow from its declaration."""
    implied: tuple[tuple[object, Iterable[type[RollcallError]]], ...] = (
        ("{" in operation.path, (NotFound,)),
        (operation.query is not None and "cursor" in operation.query.__struct_fields__, (InvalidCursor,)),
        (True, _ALWAYS),
        (True, _errors_of_access(operation)),
        (operation.body, (MalformedJson, BodyTooLarge, UnsupportedMediaType, ValidationFailed)),
        (operation.query, (ValidationFailed,)),
        (operation.method in CONDITIONAL_WRITES, (PreconditionFailed,)),
        (operation.is_idempotent_by_key, (RequestInProgress, IdempotencyKeyReused)),
        (operation.method != "GET", (OutcomeUnknown,)),
    )
    found = [error for applies, errors in implied if applies for error in errors]
    return list(dict.fromkeys([*operation.errors, *found]))


def _errors_of_access(operation: Operation) -> Iterator[type[RollcallError]]:
    access = operation.access
    if operation.authenticates_client:
        yield from (InvalidClient,) if access.public else (InvalidClient, Forbidden)
    elif access.optional or not access.public:
        yield from (Unauthenticated, InvalidToken, Forbidden)
        if (access.owner or access.admin) and not access.allowed_during_forced_change:
            yield PasswordChangeRequired
            if not access.allowed_during_enrollment:
                yield FactorEnrollmentRequired
        if access.fresh or access.fresh_for_others:
            yield ReauthenticationRequired


def _operation(operation: Operation, schemas: Schemas) -> SchemaNode:
    described: SchemaNode = {
        "operationId": operation.id,
        "summary": operation.summary,
        "description": operation.description,
        "tags": [operation.tag],
        "parameters": parameters_of(operation),
        "responses": responses_of(operation, errors_of(operation), schemas),
        "security": _security(operation),
    }
    if operation.body is not None:
        described["requestBody"] = _request_body(operation, operation.body, schemas)
    return described


def _request_body(operation: Operation, body: type[msgspec.Struct], schemas: Schemas) -> SchemaNode:
    content = content_of(body, schemas, operation.body_examples)
    return {"required": True, "content": dict.fromkeys(operation.body_types, content)}


def _security(operation: Operation) -> list[dict[str, list[str]]]:
    """Return the alternatives: no token, a session by token or cookie, or an API key with a scope.

    Tokens are one scheme: of two bearer schemes some generators send both, as two `Authorization` headers.
    """
    access = operation.access
    found: list[dict[str, list[str]]] = [{}] if access.public else []
    if access.owner or access.admin:
        found += [{"bearer": ["session"]}, {"cookie": []}]
    scopes = [access.scope.value] if access.scope is not None else []
    if scopes or access.any_key or operation.authenticates_client:
        found.append({"bearer": scopes})
    if operation.authenticates_client:
        found.append({"client": scopes})
    return found
