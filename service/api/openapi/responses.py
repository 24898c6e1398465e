"""The responses of operations in the document: successes, and errors as problem documents."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from service.api.http.problems import MEDIA_TYPE, Problem, problem_of, status_of
from service.api.openapi.component_schemas import SchemaNode, Schemas, reference_to
from service.api.openapi.examples import example_of
from service.api.operations import JSON, Operation, ResponseSpec
from service.api.schemas.common import SAMPLE_ID
from service.api.schemas.passkey_samples import SAMPLE_CHALLENGE, SAMPLE_PUBLIC_KEY
from service.domain.errors import RollcallError, SecondFactorRequired
from service.domain.factors import LoginChallenge, Method


def _header(description: str, *, required: bool = False, **schema: Any) -> SchemaNode:
    described = {"description": description, "schema": {"type": "string", **schema}}
    return {**described, "required": True} if required else described


HEADERS: Final[Mapping[str, SchemaNode]] = {
    "ETag": _header("The strong entity tag of the representation."),
    "Location": _header("Where the new resource is."),
    "Link": _header('The next page, `rel="next"`; absent on the last one.'),
    "Set-Cookie": _header("The session cookie `__Host-rollcall`, set or deleted; absent without one."),
    "Cache-Control": _header("How long the response may be kept.", required=True),
    "Retry-After": _header("Seconds to wait before the request is repeated.", type="integer", minimum=1),
    "WWW-Authenticate": _header("The challenge, RFC 6750 or RFC 7617.", required=True),
    "X-User-Id": _header("The id of the user or API key.", required=True),
    "X-User-Login": _header("The user's login id, percent-encoded; empty for an API key.", required=True),
    "X-User-Name": _header("The user's name, percent-encoded; empty for an API key.", required=True),
    "X-User-Role": _header("The user's role; empty for an API key.", required=True),
    "X-Scope": _header("The user's role, or the API key's scopes.", required=True),
    "Remote-User": _header("The same as `X-User-Login`.", required=True),
    "X-Request-Id": _header("The request's id; the log has more under it.", required=True, format="uuid"),
    "Idempotent-Replayed": _header(
        "`true` if this is the stored response of an earlier request.", const="true"
    ),
}
_CHALLENGE: Final = LoginChallenge(SAMPLE_CHALLENGE, tuple(Method), SAMPLE_PUBLIC_KEY)


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


def content_of(
    type_: type[msgspec.Struct], schemas: Schemas, examples: Mapping[str, Mapping[str, Any]] | None = None
) -> SchemaNode:
    """Return the content of a body or view: its schema, and these examples or one that is made from it."""
    schema = reference_to(type_)
    if examples:
        named = {name: {"summary": name, "value": dict(value)} for name, value in examples.items()}
        return {"schema": schema, "examples": named}
    return {"schema": schema, "example": example_of(schema, schemas)}


def _header_refs(*names: str) -> SchemaNode:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", *names)}


def _success(spec: ResponseSpec, extra: tuple[str, ...], schemas: Schemas) -> SchemaNode:
    headers = _header_refs(*spec.headers, *extra)
    described: SchemaNode = {"description": spec.description, "headers": headers}
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


def _example_of(error: type[RollcallError]) -> SchemaNode:
    sample = error(_CHALLENGE) if issubclass(error, SecondFactorRequired) else error()
    return {"summary": error.title, "value": msgspec.to_builtins(problem_of(sample, SAMPLE_ID))}


def _error_response(status: int, errors: list[type[RollcallError]]) -> SchemaNode:
    codes = ", ".join(f"`{error.code}`" for error in errors)
    examples = {error.code: _example_of(error) for error in errors}
    names = ["WWW-Authenticate"] if status == 401 else []
    if any(error.retry_after is not None for error in errors):
        names.append("Retry-After")
    return {
        "description": f"{codes}.",
        "content": {MEDIA_TYPE.decode(): {"schema": reference_to(Problem), "examples": examples}},
        "headers": _header_refs(*names),
    }
