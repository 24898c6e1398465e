"""The OpenAPI document has the form from which generators make clients that last."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from service.api.openapi.problems_page import FIELD_CODES, all_errors
from service.domain.callers import CallerKind
from service.domain.events import Action
from service.domain.factors import Method
from service.domain.keys import Scope
from tests.contract.test_openapi import DOCUMENT, OPERATIONS

SCHEMAS: dict[str, dict[str, Any]] = DOCUMENT["components"]["schemas"]
CLOSED_IN_RESPONSES = {"UserRole", "UserState"}
"""Enumerations that get no new value within /v1."""


def nodes_in(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object inside a part of the document, examples left out."""
    if isinstance(value, dict):
        yield value
        for key, member in value.items():
            if key not in ("example", "examples"):
                yield from nodes_in(member)
    elif isinstance(value, list):
        for member in value:
            yield from nodes_in(member)


def reachable_from(node: Any, seen: frozenset[str] = frozenset()) -> Iterator[dict[str, Any]]:
    """Yield every schema in a part of the document and in what it refers to."""
    for found in nodes_in(node):
        yield found
        name = str(found.get("$ref", "")).rpartition("/schemas/")[2]
        if name in SCHEMAS and name not in seen:
            yield from reachable_from(SCHEMAS[name], seen | {name})


def enumerations(nodes: Iterable[dict[str, Any]]) -> set[str]:
    return {node["title"] for node in nodes if len(node.get("enum", ())) > 1}


def test_describe_document_names_a_contact_and_describes_every_operation() -> None:
    assert DOCUMENT["info"]["contact"]["name"]
    for id_, operation in OPERATIONS.items():
        assert len(operation["description"]) > 10, id_
        assert operation["description"] != operation["summary"], id_


def test_name_operations_by_verb_and_noun() -> None:
    verbs = (
        r"(get|list|create|add|update|remove|delete|end|revoke|change|redeem|check|issue|request|send|verify"
        r"|enroll|confirm|forget)_\w+"
    )
    named = r"log_in|log_out|step_up|introspect|revoke|forward_auth"
    assert [id_ for id_ in OPERATIONS if not re.fullmatch(f"{verbs}|{named}", id_)] == []
    assert len({operation["tags"][0] for operation in OPERATIONS.values()}) == 9


def test_field_that_may_be_left_out_has_no_default() -> None:
    """openapi-typescript makes a field with a default one that must be sent."""
    fields = [
        (name, *field) for name, schema in SCHEMAS.items() for field in schema.get("properties", {}).items()
    ]
    assert [(name, field) for name, field, schema in fields if "default" in schema] == []


def test_enumerate_in_a_response_is_closed_only_for_fixed_sets() -> None:
    responses = [operation["responses"] for operation in OPERATIONS.values()]

    assert enumerations(reachable_from(responses)) == CLOSED_IN_RESPONSES


@pytest.mark.parametrize(
    ("schema", "field", "values"),
    [
        ("EventView", "action", [*Action]),
        ("EventView", "actor_kind", [*CallerKind]),
        ("ApiKeyView", "scopes", [*Scope]),
        ("Problem", "code", [error.code for error in all_errors()]),
        ("Problem", "methods", [*Method]),
        ("FieldError", "code", [*FIELD_CODES]),
    ],
)
def test_enumerate_what_may_grow_lists_the_known_values_of_a_text(
    schema: str, field: str, values: list[str]
) -> None:
    described = SCHEMAS[schema]["properties"][field]
    described = described.get("items", described)

    assert described["type"] == "string"
    assert described["x-extensible-enum"] == values


def constant_of(value: str) -> str:
    return re.sub(r"\W", "_", value.replace("-", "MINUS_")).upper()


def test_enumerate_in_one_namespace_names_no_constant_twice() -> None:
    """Go has one namespace for the constants of all types."""
    values = [value for schema in SCHEMAS.values() for value in schema.get("enum", ())]

    assert len(values) > 8
    assert [name for name, times in Counter(map(constant_of, values)).items() if times > 1] == []


def test_type_integers_says_how_wide_they_are() -> None:
    integers = [node for node in nodes_in(DOCUMENT) if node.get("type") == "integer"]
    times = [SCHEMAS["IntrospectionView"]["properties"][name] for name in ("iat", "exp")]

    assert all({"format", "maximum", "minimum"} & integer.keys() for integer in integers)
    assert [time["format"] for time in times] == ["int64", "int64"]


def test_type_nullable_values_needs_no_union() -> None:
    nodes = list(nodes_in(DOCUMENT))

    assert [node for node in nodes if {"anyOf", "oneOf", "allOf"} & node.keys()] == []
    assert sum(node.get("type") == ["string", "null"] for node in nodes) > 10


@pytest.mark.parametrize("operation", ["introspect", "revoke"])
def test_document_what_oauth_clients_send_as_a_form_alone(operation: str) -> None:
    assert list(OPERATIONS[operation]["requestBody"]["content"]) == ["application/x-www-form-urlencoded"]


def test_describe_anything_leaves_no_indentation() -> None:
    descriptions = [node["description"] for node in nodes_in(DOCUMENT) if "description" in node]

    assert len(descriptions) > 100
    assert [text for text in descriptions if isinstance(text, str) and re.search(r"\n[ \t]", text)] == []


def test_repeat_a_query_parameter_is_documented_for_ids_alone() -> None:
    lists = [
        (id_, parameter["name"], parameter["schema"]["maxItems"])
        for id_, operation in OPERATIONS.items()
        for parameter in operation["parameters"]
        if parameter["schema"].get("type") == "array"
    ]

    assert lists == [("list_users", "id", 100)]
