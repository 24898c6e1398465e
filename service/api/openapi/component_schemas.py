"""The component schemas of the document, from the types of bodies and views.

Clients are generated from them: responses are open, so that a field may be added; inputs are closed.
"""

from collections.abc import Iterable, Mapping
from inspect import cleandoc
from typing import Any, Final

import msgspec

from service.api.http.problems import Problem
from service.api.openapi.problems_page import FIELD_CODES, all_errors
from service.api.operations import Operation

SchemaNode = dict[str, Any]
Schemas = Mapping[str, Any]

_REF: Final = "#/components/schemas/{name}"


def component_schemas(operations: Iterable[Operation]) -> Schemas:
    """Return the schemas of every body, view and query enumeration of some operations, by name."""
    types: list[Any] = [Problem]
    queries = []
    for operation in operations:
        types += [spec.view for spec in operation.responses.values() if spec.view is not None]
        types += [operation.body] if operation.body is not None else []
        queries += [operation.query] if operation.query is not None else []
    _, components = msgspec.json.schema_components([*types, *queries], ref_template=_REF)
    for query in queries:
        components.pop(query.__name__, None)
    for name, codes in (("Problem", [error.code for error in all_errors()]), ("FieldError", [*FIELD_CODES])):
        components[name]["properties"]["code"]["x-extensible-enum"] = codes
    return {name: _adapt(schema) for name, schema in sorted(components.items())}


def reference_to(type_: type) -> SchemaNode:
    """Return a reference to the component schema of a type."""
    return {"$ref": _REF.format(name=type_.__name__)}


def query_schemas(query: type[msgspec.Struct]) -> dict[str, SchemaNode]:
    """Return the schema of each parameter of a query; an absent parameter is left out, never null."""
    _, components = msgspec.json.schema_components([query], ref_template=_REF)
    properties = components[query.__name__]["properties"]
    return {name: _without_null(schema) for name, schema in properties.items()}


def _adapt(node: Any) -> Any:
    """Return a schema of msgspec in the form that client generators understand best."""
    if isinstance(node, list):
        return [_adapt(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = _with_null_type({key: _adapt(value) for key, value in node.items()})
    if isinstance(node.get("description"), str):
        node["description"] = cleandoc(node["description"])
    if isinstance(node.get("enum"), list):
        is_number = all(isinstance(value, int) for value in node["enum"])
        node = {"type": "integer" if is_number else "string", **node}
    if isinstance(node.get("properties"), dict):
        node.setdefault("additionalProperties", True)
    return node


def _with_null_type(node: SchemaNode) -> SchemaNode:
    """Return a nullable schema with two types; generators make an alias of each `anyOf`."""
    branches = node.get("anyOf")
    if not branches or {"type": "null"} not in branches or "$ref" in branches[0]:
        return node
    others = {key: value for key, value in node.items() if key != "anyOf"}
    return {**branches[0], **others, "type": [branches[0]["type"], "null"]}


def _without_null(schema: SchemaNode) -> SchemaNode:
    (branch,) = (branch for branch in schema.get("anyOf", [schema]) if branch.get("type") != "null")
    default = schema.get("default")
    shown = {key: value for key, value in branch.items() if key != "default"}
    return shown if default is None else {**shown, "default": default}
