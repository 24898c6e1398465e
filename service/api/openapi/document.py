"""The OpenAPI document, made from the declared operations and the wire structs: it cannot say anything else.

Source: OpenAPI Specification 3.1.1.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from litestar import Litestar
from litestar.routes import HTTPRoute

from service import __version__
from service.api.http.problems import MEDIA_TYPE, Problem, problem_of, status_of
from service.api.openapi.examples import example_of
from service.api.operations import JSON, Operation, ResponseSpec
from service.api.schemas.common import ID_PATTERN
from service.domain.errors import (
    BodyTooLarge,
    DatabaseUnavailable,
    Forbidden,
    IdempotencyKeyReused,
    InternalError,
    InvalidToken,
    MalformedJson,
    MalformedRequest,
    NotAcceptable,
    OutcomeUnknown,
    PasswordChangeRequired,
    PreconditionFailed,
    RequestInProgress,
    RollcallError,
    SchemaBehind,
    Unauthenticated,
    UnsupportedMediaType,
    ValidationFailed,
)

_SAMPLE_ID = "0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e"
_COMPONENTS = "#/components/schemas/{name}"
_READS = frozenset({"get", "head"})
_CONDITIONAL_WRITES = frozenset({"put", "patch", "delete"})

_HEADERS: Mapping[str, dict[str, Any]] = {
    "ETag": {"description": "The strong entity tag of the representation.", "schema": {"type": "string"}},
    "Location": {"description": "Where the new resource is.", "schema": {"type": "string"}},
    "Link": {
        "description": 'The next page, `rel="next"`; absent on the last one.',
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Seconds after which a repetition makes sense.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {
        "description": "The challenge, RFC 6750.",
        "schema": {"type": "string"},
        "required": True,
    },
    "X-Request-Id": {
        "description": "The request's id; one that was sent is kept when it is a UUID in its canonical form.",
        "schema": {"type": "string", "format": "uuid"},
        "required": True,
    },
    "Idempotent-Replayed": {
        "description": "`true` when this is the stored answer of an earlier request.",
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
    "description": "Only if the resource has none of these entity tags any more; else the answer is 304.",
    "schema": {"type": "string", "pattern": _ENTITY_TAGS},
}

_TAGS: Mapping[str, str] = {
    "users": "Accounts. In a path, `me` stands for the caller's own id.",
    "passwords": "Changing, setting and resetting passwords.",
    "sessions": "Log-ins: what they open, and how it ends.",
    "introspection": "What a token stands for, told to other services (RFC 7662).",
    "keys": "API keys of other services.",
    "events": "The audit trail.",
    "health": "For orchestrators.",
    "metrics": "For monitoring.",
    "reference": "This document.",
}
"""What operations are about, in the order in which somebody new reads them."""

_ABOUT = """\
Send `Authorization: Bearer TOKEN` with a session token or an API key. Bodies are JSON; whatever is not
documented here is refused, never ignored. Every refusal is a problem document (RFC 9457): decide by its
`code`. Listings come in pages: go on with `next_cursor` or the `Link` header. Every answer carries
`X-Request-Id`."""

Schemas = Mapping[str, Any]
Endpoints = Iterable[tuple[str, str, Operation]]


def endpoints_of(app: Litestar) -> list[tuple[str, str, Operation]]:
    """Give path, method and operation of every endpoint that declares one; HEAD goes without saying."""
    found = []
    overridden: Mapping[str, Operation] = app.state.get("overridden", {})
    for route in app.routes:
        if not isinstance(route, HTTPRoute):
            continue
        for handler in route.route_handlers:
            operation = handler.opt.get("operation")
            if isinstance(operation, Operation) and operation.is_documented:
                operation = overridden.get(operation.id, operation)
                method = next(m for m in sorted(handler.http_methods) if m != "HEAD")
                found.append((route.path_format, method.lower(), operation))
    return sorted(found, key=lambda item: (item[0], item[1]))


def document(endpoints: Endpoints) -> dict[str, Any]:
    """Make the OpenAPI document of some endpoints."""
    endpoints = list(endpoints)
    paths: dict[str, dict[str, Any]] = {}
    schemas = _schemas([operation for _, _, operation in endpoints])
    for path, method, operation in endpoints:
        paths.setdefault(path, {})[method] = _operation(path, method, operation, schemas)
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
            if tag in {operation.tag for _, _, operation in endpoints}
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
                    "`users:read`, `users:write`, `sessions:introspect`.",
                },
            },
        },
    }


def refusals_of(method: str, operation: Operation) -> list[type[RollcallError]]:
    """Give every refusal an operation can utter: its own, and those that follow from what it declares."""
    found: list[type[RollcallError]] = [
        MalformedRequest,
        NotAcceptable,
        InternalError,
        DatabaseUnavailable,
        SchemaBehind,
    ]
    access = operation.access
    if not access.public or access.optional:
        found += [Unauthenticated, InvalidToken, Forbidden]
        if (access.self_ or access.admin) and not access.while_password_change_is_due:
            found.append(PasswordChangeRequired)
    if operation.body is not None:
        found += [MalformedJson, BodyTooLarge, UnsupportedMediaType, ValidationFailed]
    if operation.query is not None:
        found.append(ValidationFailed)
    if method in _CONDITIONAL_WRITES:
        found.append(PreconditionFailed)
    if operation.is_idempotent_by_key:
        found += [RequestInProgress, IdempotencyKeyReused]
    if method not in _READS:
        found.append(OutcomeUnknown)
    return list(dict.fromkeys([*operation.problems, *found]))


def _operation(path: str, method: str, operation: Operation, schemas: Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [
            *_path_parameters(path),
            *_query_parameters(operation),
            *_header_parameters(method, operation),
        ],
        "responses": _responses(method, operation, schemas),
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
    about = "The account's id; `me` stands for the caller's own." if name == "user_id" else "The id."
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


def _header_parameters(method: str, operation: Operation) -> list[dict[str, Any]]:
    wanted = (
        (operation.is_idempotent_by_key, _IDEMPOTENCY_KEY),
        (method in _CONDITIONAL_WRITES, _IF_MATCH),
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


def _responses(method: str, operation: Operation, schemas: Schemas) -> dict[str, Any]:
    extra = ("Idempotent-Replayed",) if operation.is_idempotent_by_key else ()
    responses = {
        str(status): _success(success, extra, schemas) for status, success in operation.answers.items()
    }
    if operation.is_conditional_read:
        responses["304"] = {
            "description": "The caller has the current representation.",
            "headers": _header_refs("ETag"),
        }
    return responses | _refusal_responses(refusals_of(method, operation))


def _success(success: ResponseSpec, extra: tuple[str, ...], schemas: Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": success.description,
        "headers": _header_refs(*success.headers, *extra),
    }
    if success.view is not None:
        described["content"] = {success.media_type: _content(success.view, schemas)}
    elif success.media_type != JSON:
        described["content"] = {success.media_type: {"schema": {"type": "string"}}}
    elif success.is_free_form:
        described["content"] = {success.media_type: {"schema": {"type": "object"}}}
    if success.links:
        described["links"] = {
            name: {"operationId": name, "parameters": dict(parameters)}
            for name, parameters in success.links.items()
        }
    return described


def _refusal_responses(refusals: list[type[RollcallError]]) -> dict[str, Any]:
    by_status: dict[int, list[type[RollcallError]]] = {}
    for refusal in refusals:
        by_status.setdefault(status_of(refusal.kind), []).append(refusal)
    return {str(status): _refusal_response(status, by_status[status]) for status in sorted(by_status)}


def _refusal_response(status: int, refusals: list[type[RollcallError]]) -> dict[str, Any]:
    codes = ", ".join(f"`{refusal.code}`" for refusal in refusals)
    examples = {
        refusal.code: {
            "summary": refusal.title,
            "value": msgspec.to_builtins(problem_of(refusal(), _SAMPLE_ID)),
        }
        for refusal in refusals
    }
    described: dict[str, Any] = {
        "description": f"{codes}.",
        "content": {
            MEDIA_TYPE: {"schema": {"$ref": _COMPONENTS.format(name="Problem")}, "examples": examples}
        },
    }
    names = ["WWW-Authenticate"] if status == 401 else []
    if any(refusal.retry_after is not None for refusal in refusals):
        names.append("Retry-After")
    return {**described, "headers": _header_refs(*names)}


def _security(operation: Operation) -> list[dict[str, list[str]]]:
    access = operation.access
    found: list[dict[str, list[str]]] = []
    if access.public:
        found.append({})
    if access.self_ or access.admin:
        found.append({"session": []})
    if access.scope is not None:
        found.append({"api_key": [access.scope.value]})
    return found


def _schemas(operations: list[Operation]) -> dict[str, Any]:
    types: list[Any] = [Problem]
    for operation in operations:
        types += [success.view for success in operation.answers.values() if success.view is not None]
        types += [operation.body] if operation.body is not None else []
        types += [operation.query] if operation.query is not None else []
    _, components = msgspec.json.schema_components(types, ref_template=_COMPONENTS)
    queries = {operation.query.__name__ for operation in operations if operation.query is not None}
    return {name: _typed(schema) for name, schema in sorted(components.items()) if name not in queries}


def _typed(schema: dict[str, Any]) -> dict[str, Any]:
    """Say of an enumeration that its values are strings, which generators of clients want to know."""
    return {"type": "string", **schema} if "enum" in schema else schema
