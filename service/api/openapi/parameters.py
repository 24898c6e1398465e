"""The parameters of operations in the document: path, query and header."""

from typing import Any, Final

from service.api.openapi.component_schemas import SchemaNode, query_schemas
from service.api.operations import Operation
from service.api.preconditions import CONDITIONAL_WRITES
from service.api.schemas.common import ID_PATTERN, SAMPLE_ID

_ENTITY_TAGS: Final = r'^(\*|(W/)?"[!#-~]*"(, ?(W/)?"[!#-~]*")*)$'


def _header(name: str, description: str, **schema: Any) -> SchemaNode:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string", **schema},
    }


_IDEMPOTENCY_KEY: Final = _header(
    "Idempotency-Key",
    "Makes the request safe to repeat for 24 hours.",
    minLength=1,
    maxLength=255,
    pattern="^[!-~]+$",
)
_IF_MATCH: Final = _header(
    "If-Match",
    "Only if the resource still has one of these entity tags. Weak ones never match.",
    pattern=_ENTITY_TAGS,
)
_IF_NONE_MATCH: Final = _header(
    "If-None-Match",
    "Only if the resource no longer has one of these entity tags; else the status is 304. What is no list of "
    "entity tags matches none.",
)


def parameters_of(operation: Operation) -> list[SchemaNode]:
    """Return the parameters of an operation."""
    return [*_path_parameters(operation.path), *_query_parameters(operation), *_header_parameters(operation)]


def _path_parameters(path: str) -> list[SchemaNode]:
    return [_path_parameter(part[1:-1]) for part in path.split("/") if part.startswith("{")]


def _path_parameter(name: str) -> SchemaNode:
    pattern = f"^(me|{ID_PATTERN[1:-1]})$" if name == "user_id" else ID_PATTERN
    about = "The user's id; `me` stands for the caller's own." if name == "user_id" else "The id."
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": about,
        "schema": {"type": "string", "pattern": pattern},
        "example": SAMPLE_ID,
    }


def _query_parameters(operation: Operation) -> list[SchemaNode]:
    if operation.query is None:
        return []
    return [_query_parameter(name, schema) for name, schema in query_schemas(operation.query).items()]


def _query_parameter(name: str, schema: SchemaNode) -> SchemaNode:
    about = schema.pop("description", None)
    described = {"name": name, "in": "query", "required": False, "schema": schema}
    return described if about is None else {**described, "description": about}


def _header_parameters(operation: Operation) -> list[SchemaNode]:
    wanted = (
        (operation.is_idempotent_by_key, _IDEMPOTENCY_KEY),
        (operation.method in CONDITIONAL_WRITES, _IF_MATCH),
        (operation.is_conditional_read, _IF_NONE_MATCH),
    )
    return [parameter for is_wanted, parameter in wanted if is_wanted]
