"""The OpenAPI document, generated from the declared operations and their schemas.

Source: OpenAPI Specification 3.1.1.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from service import __version__
from service.api.http.errors import (
    BodyTooLarge,
    MalformedJson,
    MalformedRequest,
    NotAcceptable,
    UnsupportedMediaType,
)
from service.api.http.problems import MEDIA_TYPE, Problem, problem_of, status_of
from service.api.openapi.examples import example_of
from service.api.operations import JSON, Operation, ResponseSpec
from service.api.schemas.common import ID_PATTERN
from service.domain.callers import Access
from service.domain.errors import (
    DatabaseUnavailable,
    Forbidden,
    IdempotencyKeyReused,
    InternalError,
    InvalidToken,
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

_SAMPLE_ID = "0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e"
_COMPONENTS = "#/components/schemas/{name}"
_CONDITIONAL_WRITES = frozenset({"PUT", "PATCH", "DELETE"})

_HEADERS: Mapping[str, dict[str, Any]] = {
    "ETag": {"description": "The strong entity tag of the representation.", "schema": {"type": "string"}},
    "Location": {"description": "Where the new resource is.", "schema": {"type": "string"}},
    "Link": {
        "description": 'The next page, `rel="next"`; absent on the last one.',
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Seconds to wait before the request is repeated.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {
        "description": "The challenge, RFC 6750.",
        "schema": {"type": "string"},
        "required": True,
    },
    "X-Request-Id": {
        "description": "The request's id; an incoming one is kept if it is a UUID in canonical form.",
        "schema": {"type": "string", "format": "uuid"},
        "required": True,
    },
    "Idempotent-Replayed": {
        "description": "`true` if this is the stored response of an earlier request.",
        "schema": {"type": "string", "const": "true"},
    },
}

_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Makes the request safe to repeat for 24 hours.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
_ENTITY_TAGS = r'^(\*|(W/)?"[!#-~]*"(, ?(W/)?"[!#-~]*")*)$'
_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "Only if the resource still has one of these entity tags. Weak ones never match.",
    "schema": {"type": "string", "pattern": _ENTITY_TAGS},
}
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "Only if the resource no longer has one of these entity tags; else the status is 304.",
    "schema": {"type": "string", "pattern": _ENTITY_TAGS},
}

_TAGS: Mapping[str, str] = {
    "users": "Users. In a path, `me` stands for the caller's own id.",
    "passwords": "Changing, setting and resetting passwords.",
    "sessions": "Logging in and out, and the sessions between.",
    "introspection": "What a token stands for, for other services (RFC 7662).",
    "keys": "API keys of other services.",
    "events": "The audit trail.",
    "health": "For orchestrators.",
    "metrics": "For monitoring.",
    "docs": "This document.",
}
"""Tag descriptions, in reading order."""

_ABOUT = """\
Send `Authorization: Bearer TOKEN` with a session token or an API key. Bodies are JSON; whatever is not
documented here is rejected, never ignored. Every error is a problem document (RFC 9457): decide by its
`code`. Listings come in pages: continue with `next_cursor` or the `Link` header. Every response has
`X-Request-Id`."""

Schemas = Mapping[str, Any]


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the OpenAPI document of the documented ones of some operations."""
    documented = [operation for operation in operations if operation.is_documented]
    documented.sort(key=lambda operation: (operation.path, operation.method))
    schemas = _schemas(documented)
    paths: dict[str, dict[str, Any]] = {}
    for operation in documented:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Rollcall",
            "version": __version__,
            "summary": "Accounts, log-ins, sessions and introspection.",
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": tag, "description": about}
            for tag, about in _TAGS.items()
            if tag in {operation.tag for operation in documented}
        ],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": dict(_HEADERS),
            "securitySchemes": {
                "session": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A session token, `rcs_…`, from `log_in`.",
                },
                "api_key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, `rck_…`, with the scopes it was created with: "
                    + ", ".join(f"`{scope}`" for scope in Scope)
                    + ".",
                },
            },
        },
    }


def errors_of(operation: Operation) -> list[type[RollcallError]]:
    """Return every error of an operation: its own, and those that follow from its declaration."""
    method = operation.method
    found: list[type[RollcallError]] = [
        MalformedRequest,
        NotAcceptable,
        InternalError,
        DatabaseUnavailable,
        SchemaBehind,
    ]
    found += _errors_of_access(operation.access)
    if operation.body is not None:
        found += [MalformedJson, BodyTooLarge, UnsupportedMediaType, ValidationFailed]
    if operation.query is not None:
        found.append(ValidationFailed)
    if method in _CONDITIONAL_WRITES:
        found.append(PreconditionFailed)
    if operation.is_idempotent_by_key:
        found += [RequestInProgress, IdempotencyKeyReused]
    if method != "GET":
        found.append(OutcomeUnknown)
    return list(dict.fromkeys([*operation.errors, *found]))


def _errors_of_access(access: Access) -> Iterator[type[RollcallError]]:
    if access.public and not access.optional:
        return
    yield from (Unauthenticated, InvalidToken, Forbidden)
    if (access.owner or access.admin) and not access.allowed_during_forced_change:
        yield PasswordChangeRequired
    if access.fresh or access.fresh_for_others:
        yield ReauthenticationRequired


def _operation(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [
            *_path_parameters(operation.path),
            *_query_parameters(operation),
            *_header_parameters(operation),
        ],
        "responses": _responses(operation, schemas),
        "security": _security(operation),
    }
    if operation.description:
        described["description"] = operation.description
    if operation.body is not None:
        described["requestBody"] = _request_body(operation.body, operation.body_types, schemas)
    return described


def _path_parameters(path: str) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return [_path_parameter(name) for name in names]


def _path_parameter(name: str) -> dict[str, Any]:
    pattern = f"^(me|{ID_PATTERN[1:-1]})$" if name == "user_id" else ID_PATTERN
    about = "The user's id; `me` stands for the caller's own." if name == "user_id" else "The id."
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": about,
        "schema": {"type": "string", "pattern": pattern},
        "example": _SAMPLE_ID,
    }


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    _, components = msgspec.json.schema_components([operation.query], ref_template=_COMPONENTS)
    properties = components[operation.query.__name__]["properties"]
    return [_query_parameter(name, schema) for name, schema in properties.items()]


def _query_parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    default = schema.get("default")
    if "anyOf" in schema:
        (schema,) = (branch for branch in schema["anyOf"] if branch.get("type") != "null")
    schema = {key: value for key, value in schema.items() if key != "default"}
    about = schema.pop("description", None)
    if default is not None:
        schema["default"] = default
    described = {"name": name, "in": "query", "required": False, "schema": schema}
    return described if about is None else {**described, "description": about}


def _header_parameters(operation: Operation) -> list[dict[str, Any]]:
    wanted = (
        (operation.is_idempotent_by_key, _IDEMPOTENCY_KEY),
        (operation.method in _CONDITIONAL_WRITES, _IF_MATCH),
        (operation.is_conditional_read, _IF_NONE_MATCH),
    )
    return [parameter for is_wanted, parameter in wanted if is_wanted]


def _request_body(body: type[msgspec.Struct], media_types: Iterable[str], schemas: Schemas) -> dict[str, Any]:
    return {"required": True, "content": {name: _content(body, schemas) for name in media_types}}


def _content(type_: type[msgspec.Struct], schemas: Schemas) -> dict[str, Any]:
    schema = {"$ref": _COMPONENTS.format(name=type_.__name__)}
    return {"schema": schema, "example": example_of(schema, schemas)}


def _header_refs(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", *names)}


def _responses(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    extra = ("Idempotent-Replayed",) if operation.is_idempotent_by_key else ()
    responses = {str(status): _success(spec, extra, schemas) for status, spec in operation.responses.items()}
    if operation.is_conditional_read:
        responses["304"] = {
            "description": "The caller has the current representation.",
            "headers": _header_refs("ETag"),
        }
    return responses | _error_responses(errors_of(operation))


def _success(spec: ResponseSpec, extra: tuple[str, ...], schemas: Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": spec.description,
        "headers": _header_refs(*spec.headers, *extra),
    }
    if spec.view is not None:
        described["content"] = {spec.media_type: _content(spec.view, schemas)}
    elif spec.media_type != JSON:
        described["content"] = {spec.media_type: {"schema": {"type": "string"}}}
    elif spec.is_free_form:
        described["content"] = {spec.media_type: {"schema": {"type": "object"}}}
    if spec.links:
        described["links"] = {
            name: {"operationId": name, "parameters": dict(parameters)}
            for name, parameters in spec.links.items()
        }
    return described


def _error_responses(errors: list[type[RollcallError]]) -> dict[str, Any]:
    by_status: dict[int, list[type[RollcallError]]] = {}
    for error in errors:
        by_status.setdefault(status_of(error), []).append(error)
    return {str(status): _error_response(status, by_status[status]) for status in sorted(by_status)}


def _error_response(status: int, errors: list[type[RollcallError]]) -> dict[str, Any]:
    codes = ", ".join(f"`{error.code}`" for error in errors)
    examples = {
        error.code: {
            "summary": error.title,
            "value": msgspec.to_builtins(problem_of(error(), _SAMPLE_ID)),
        }
        for error in errors
    }
    described: dict[str, Any] = {
        "description": f"{codes}.",
        "content": {
            MEDIA_TYPE.decode(): {
                "schema": {"$ref": _COMPONENTS.format(name="Problem")},
                "examples": examples,
            }
        },
    }
    names = ["WWW-Authenticate"] if status == 401 else []
    if any(error.retry_after is not None for error in errors):
        names.append("Retry-After")
    return {**described, "headers": _header_refs(*names)}


def _security(operation: Operation) -> list[dict[str, list[str]]]:
    access = operation.access
    found: list[dict[str, list[str]]] = []
    if access.public:
        found.append({})
    if access.owner or access.admin:
        found.append({"session": []})
    if access.scope is not None:
        found.append({"api_key": [access.scope.value]})
    return found


def _schemas(operations: list[Operation]) -> dict[str, Any]:
    types: list[Any] = [Problem]
    for operation in operations:
        types += [spec.view for spec in operation.responses.values() if spec.view is not None]
        types += [operation.body] if operation.body is not None else []
        types += [operation.query] if operation.query is not None else []
    _, components = msgspec.json.schema_components(types, ref_template=_COMPONENTS)
    queries = {operation.query.__name__ for operation in operations if operation.query is not None}
    return {name: _typed(schema) for name, schema in sorted(components.items()) if name not in queries}


def _typed(schema: dict[str, Any]) -> dict[str, Any]:
    """Add the type of an enumeration, which client generators need."""
    return {"type": "string", **schema} if "enum" in schema else schema
