"""The responses of operations in the document: successes, and errors as problem documents."""

from collections.abc import Mapping
from typing import Final

import msgspec

from service.api.http.problems import MEDIA_TYPE, Problem, problem_of, status_of
from service.api.openapi.component_schemas import SchemaNode, Schemas, reference_to
from service.api.openapi.examples import example_of
from service.api.openapi.parameters import SAMPLE_ID
from service.api.operations import JSON, Operation, ResponseSpec
from service.domain.errors import RollcallError

HEADERS: Final[Mapping[str, SchemaNode]] = {
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


def responses_of(
    operation: Operation, errors: list[type[RollcallError]], schemas: Schemas
) -> dict[str, SchemaNode]:
    """Return the responses of an operation by status."""
    extra = ("Idempotent-Replayed",) if operation.is_idempotent_by_key else ()
    responses = {str(status): _success(spec, extra, schemas) for status, spec in operation.responses.items()}
    if operation.is_conditional_read:
        responses["304"] = {
            "description": "The caller has the current representation.",
            "headers": _header_refs("ETag"),
        }
    return responses | _error_responses(errors)


def content_of(type_: type[msgspec.Struct], schemas: Schemas) -> SchemaNode:
    """Return the content of a body or view: its schema and an example."""
    schema = reference_to(type_)
    return {"schema": schema, "example": example_of(schema, schemas)}


def _header_refs(*names: str) -> SchemaNode:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", *names)}


def _success(spec: ResponseSpec, extra: tuple[str, ...], schemas: Schemas) -> SchemaNode:
    described: SchemaNode = {
        "description": spec.description,
        "headers": _header_refs(*spec.headers, *extra),
    }
    if spec.view is not None:
        described["content"] = {spec.media_type: content_of(spec.view, schemas)}
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


def _error_responses(errors: list[type[RollcallError]]) -> SchemaNode:
    by_status: dict[int, list[type[RollcallError]]] = {}
    for error in errors:
        by_status.setdefault(status_of(error), []).append(error)
    return {str(status): _error_response(status, by_status[status]) for status in sorted(by_status)}


def _error_response(status: int, errors: list[type[RollcallError]]) -> SchemaNode:
    codes = ", ".join(f"`{error.code}`" for error in errors)
    examples = {
        error.code: {
            "summary": error.title,
            "value": msgspec.to_builtins(problem_of(error(), SAMPLE_ID)),
        }
        for error in errors
    }
    described: SchemaNode = {
        "description": f"{codes}.",
        "content": {
            MEDIA_TYPE.decode(): {
                "schema": reference_to(Problem),
                "examples": examples,
            }
        },
    }
    names = ["WWW-Authenticate"] if status == 401 else []
    if any(error.retry_after is not None for error in errors):
        names.append("Retry-After")
    return {**described, "headers": _header_refs(*names)}
