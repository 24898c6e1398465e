"""Changes to the API that break a client are found, and the others are not."""

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from click.testing import CliRunner

from tools import api_diff
from tools.api_diff import breaking_changes

Node = dict[str, Any]

_ADA = {
    "type": "object",
    "properties": {
        "name": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "role": {"$ref": "#/components/schemas/Role"},
        "parent": {"$ref": "#/components/schemas/Ada"},
    },
    "required": ["role"],
}
DOCUMENT: Node = {
    "paths": {
        "/ada": {
            "put": {
                "operationId": "put_ada",
                "parameters": [{"name": "q", "in": "query", "schema": {"type": "string", "maxLength": 9}}],
                "requestBody": {
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Ada"}}}
                },
                "responses": {
                    "200": {
                        "headers": {"ETag": {}},
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Ada"}}},
                    },
                    "404": {},
                },
            }
        }
    },
    "components": {"schemas": {"Ada": _ADA, "Role": {"type": "string", "enum": ["user", "admin"]}}},
}


def after(change: Callable[[Node, Node, Node], object]) -> list[str]:
    """Return what breaks after a change of the document, its operation and its schema."""
    head = deepcopy(DOCUMENT)
    change(head, head["paths"]["/ada"]["put"], head["components"]["schemas"]["Ada"])
    return breaking_changes(DOCUMENT, head)


def test_compare_equal_documents_finds_nothing() -> None:
    assert after(lambda *_: None) == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda head, *_: head["paths"].clear(), "removed: PUT /ada"),
        (lambda _, put, __: put.update(operationId="x"), "removed: PUT /ada is called put_ada"),
        (lambda _, put, __: put["parameters"].clear(), "removed: PUT /ada query q"),
        (
            lambda _, put, __: put["parameters"][0].update(required=True),
            "demanded: PUT /ada query q is required",
        ),
        (
            lambda _, put, __: put["parameters"][0]["schema"].update(maxLength=8),
            "demanded: PUT /ada query q maxLength",
        ),
        (
            lambda _, put, __: put["parameters"][0]["schema"].update(pattern="a"),
            "demanded: PUT /ada query q pattern a",
        ),
        (
            lambda _, put, __: put["parameters"][0]["schema"].update(type="integer"),
            "removed: PUT /ada query q: string",
        ),
        (
            lambda _, put, __: put["requestBody"].update(required=True),
            "demanded: PUT /ada a body is required",
        ),
        (lambda _, put, __: put["requestBody"]["content"].clear(), "removed: PUT /ada application/json "),
        (lambda _, put, __: put["responses"].pop("404"), "removed: PUT /ada 404"),
        (lambda _, put, __: put["responses"]["200"]["headers"].clear(), "removed: PUT /ada 200 header ETag"),
        (
            lambda _, __, ada: ada["properties"].pop("name"),
            "removed: PUT /ada 200 application/json .name",
        ),
        (
            lambda _, __, ada: ada["required"].append("name"),
            "demanded: PUT /ada application/json .name is required",
        ),
        (
            lambda _, __, ada: ada["required"].clear(),
            "removed: PUT /ada 200 application/json .role is always there",
        ),
        (
            lambda _, __, ada: ada["properties"].update(
                role={"type": ["string", "null"], "enum": ["user", "admin"]}
            ),
            "demanded: PUT /ada 200 application/json .role: null",
        ),
        (
            lambda head, *_: head["components"]["schemas"]["Role"]["enum"].remove("admin"),
            'removed: PUT /ada application/json .role = "admin"',
        ),
        (
            lambda _, __, ada: (
                ada["properties"].update(new={"type": "string"}) or ada["required"].append("new")
            ),
            "demanded: PUT /ada application/json .new is required",
        ),
    ],
)
def test_compare_after_a_breaking_change_finds_it(change: Callable[..., object], found: str) -> None:
    assert found in after(change)


def test_compare_after_a_removal_names_nothing_below_it() -> None:
    assert after(lambda _, put, __: put["responses"].pop("200")) == ["removed: PUT /ada 200"]


@pytest.mark.parametrize(
    "change",
    [
        lambda head, put, _: head["paths"].update({"/new": {"post": deepcopy(put)}}),
        lambda _, put, __: put["parameters"].append(
            {"name": "new", "in": "query", "schema": {"type": "string", "minLength": 1}}
        ),
        lambda _, put, __: put["parameters"][0]["schema"].update(maxLength=10),
        lambda _, put, __: put["responses"].update({"409": {}}),
        lambda _, __, ada: ada["properties"].update(new={"type": "string"}),
        lambda head, *_: head["components"]["schemas"]["Role"]["enum"].append("guest"),
        lambda head, put, _: (
            put["requestBody"]["content"]["application/json"].update(schema=_ADA),
            head["components"]["schemas"].update(Other=_ADA),
        ),
    ],
    ids=["operation", "parameter", "limit", "status", "field", "value", "schema name"],
)
def test_compare_after_an_addition_finds_nothing(change: Callable[..., object]) -> None:
    assert after(change) == []


def test_api_diff_of_a_removal_exits_one_unless_it_is_accepted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    base = json.loads((api_diff.ROOT / api_diff.DOCUMENT).read_text())
    base["paths"]["/v1/users"]["get"]["parameters"].append(
        {"name": "gone", "in": "query", "schema": {"type": "string"}}
    )
    accepted = tmp_path / "accepted.txt"
    accepted.write_text("# why\n")
    monkeypatch.setattr(api_diff, "ACCEPTED", accepted)
    monkeypatch.setattr(api_diff, "document_at", lambda commit: {"base": base}[commit])
    refused = CliRunner().invoke(api_diff.api_diff, ["--base", "base"])
    assert (refused.exit_code, refused.output.splitlines()) == (
        1,
        ["removed: GET /v1/users query gone", "removed: GET /v1/users query gone: string"],
    )
    accepted.write_text("# why\n" + refused.output)
    assert CliRunner().invoke(api_diff.api_diff, ["--base", "base"]).exit_code == 0


def test_api_diff_of_an_unknown_commit_says_so() -> None:
    ran = CliRunner().invoke(api_diff.api_diff, ["--base", "no-such-commit"])
    assert ran.exit_code == 1
    assert "no-such-commit" in ran.output
