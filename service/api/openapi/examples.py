"""Examples for the OpenAPI document, built from the examples of single fields in its schemas."""

from collections.abc import Mapping
from typing import Any, Final

_SAMPLES: Final[Mapping[str, Any]] = {"boolean": True, "integer": 1, "string": "text"}


def example_of(schema: Mapping[str, Any], components: Mapping[str, Any]) -> Any:
    """Return a value that the schema allows. Of optional fields, it has those with an example."""
    if "$ref" in schema:
        return example_of(components[schema["$ref"].rpartition("/")[2]], components)
    if "anyOf" in schema:
        return example_of(schema["anyOf"][0], components)
    for keyword in ("examples", "enum", "x-extensible-enum"):
        if keyword in schema:
            return schema[keyword][0]
    type_ = schema["type"] if isinstance(schema["type"], str) else schema["type"][0]
    if type_ == "array":
        return [example_of(schema["items"], components)]
    return _object(schema, components) if type_ == "object" else _SAMPLES[type_]


def _object(schema: Mapping[str, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    required = schema.get("required", ())
    return {
        name: example_of(member, components)
        for name, member in schema["properties"].items()
        if name in required or "examples" in member
    }
