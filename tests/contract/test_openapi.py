"""The OpenAPI document is exact, whole and current."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from service.api.openapi.problems_page import all_errors
from service.domain.keys import Scope
from tools.documents import generated_documents

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT: dict[str, Any] = json.loads((ROOT / "docs/openapi.json").read_text())
OPERATIONS: dict[str, dict[str, Any]] = {
    operation["operationId"]: {**operation, "path": path, "method": method}
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
}
ANYBODY: list[dict[str, list[str]]] = [{}]
SESSION: list[dict[str, list[str]]] = [{"bearer": ["session"]}, {"cookie": []}]
# Who may call what, written a second time by hand: the contract, not the code, decides.
CALLERS = {
    "create_user": [*SESSION, {"bearer": ["users:write"]}],
    "list_users": [*SESSION, {"bearer": ["users:read"]}],
    "get_user": [*SESSION, {"bearer": ["users:read"]}],
    "update_user": [*SESSION, {"bearer": ["users:write"]}],
    "delete_user": [*SESSION, {"bearer": ["users:write"]}],
    "change_password": [*SESSION, {"bearer": ["users:write"]}],
    "create_reset_token": [*SESSION, {"bearer": ["users:write"]}],
    "redeem_reset_token": ANYBODY,
    "request_recovery": ANYBODY,
    "send_login_code": ANYBODY,
    "send_verification": [*SESSION, {"bearer": ["users:write"]}],
    "verify_email": ANYBODY,
    "log_in": ANYBODY,
    "create_passkey_challenge": ANYBODY,
    "step_up": [*SESSION],
    "get_current_session": [*SESSION],
    "log_out": [*SESSION],
    "list_sessions": [*SESSION],
    "end_sessions": [*SESSION, {"bearer": ["users:write"]}],
    "get_session": [*SESSION],
    "end_session": [*SESSION],
    "list_devices": [*SESSION],
    "forget_device": [*SESSION],
    "enroll_totp": [*SESSION],
    "confirm_totp": [*SESSION],
    "remove_totp": [*SESSION],
    "create_passkey_options": [*SESSION],
    "add_passkey": [*SESSION],
    "list_passkeys": [*SESSION],
    "update_passkey": [*SESSION],
    "remove_passkey": [*SESSION],
    "create_recovery_codes": [*SESSION],
    "remove_factors": [*SESSION, {"bearer": ["admins:write"]}],
    "introspect": [{"bearer": ["sessions:introspect"]}, {"client": ["sessions:introspect"]}],
    "revoke": [{}, {"bearer": []}, {"client": []}],
    "forward_auth": [*SESSION, {"bearer": []}],
    "get_server_metadata": ANYBODY,
    "get_openid_configuration": ANYBODY,
    "issue_token": [*SESSION],
    "get_jwks": ANYBODY,
    "create_key": [*SESSION],
    "list_keys": [*SESSION],
    "get_key": [*SESSION],
    "revoke_key": [*SESSION],
    "list_events": [*SESSION, {"bearer": ["events:read"]}],
    "check_live": ANYBODY,
    "check_ready": ANYBODY,
    "get_metrics": ANYBODY,
    "get_openapi": ANYBODY,
    "get_docs": ANYBODY,
}
UNDOCUMENTED_CODES = {
    "method_not_allowed",  # belongs to what is no operation
    "method_not_implemented",
}


def test_documents_in_the_repository_are_current() -> None:
    for path, text in generated_documents().items():
        assert path.read_text() == text, f"{path.name} is not current; run: make documents"


def test_operations_are_those_of_the_contract_for_those_callers() -> None:
    assert {id_: operation["security"] for id_, operation in OPERATIONS.items()} == CALLERS


def references_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for member in value.values():
            yield from references_in(member)
    elif isinstance(value, list):
        for member in value:
            yield from references_in(member)


def test_references_all_lead_somewhere_and_nothing_is_left_over() -> None:
    used = set(references_in(DOCUMENT))
    there = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "headers")
        for name in DOCUMENT["components"][kind]
    }
    assert used == there


def validator_of(schema: dict[str, Any]) -> Draft202012Validator:
    whole = {**schema, "components": DOCUMENT["components"]}
    return Draft202012Validator(whole, format_checker=FormatChecker())


def contents_of(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
    for body in bodies:
        for media_type, content in body.get("content", {}).items():
            if media_type.endswith("json"):
                yield content


@pytest.mark.parametrize("operation", OPERATIONS)
def test_examples_of_an_operation_are_what_their_schemas_say(operation: str) -> None:
    for content in contents_of(OPERATIONS[operation]):
        examples = [content["example"]] if "example" in content else []
        examples += [example["value"] for example in content.get("examples", {}).values()]
        assert examples or content["schema"] == {"type": "object"}
        for example in examples:
            assert list(validator_of(content["schema"]).iter_errors(example)) == []


def test_schemas_are_valid_and_inputs_alone_are_closed() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        if schema["type"] == "object":
            assert schema["additionalProperties"] is not name.endswith("Body"), name


def test_parameters_are_described_and_typed() -> None:
    for id_, operation in OPERATIONS.items():
        names = [parameter["name"] for parameter in operation["parameters"]]
        assert len(names) == len(set(names))
        for parameter in operation["parameters"]:
            assert parameter["schema"]
            assert parameter.get("description") or parameter["in"] == "query", (id_, parameter["name"])
        for part in operation["path"].split("/"):
            assert not part.startswith("{") or part.strip("{}") in names


def test_every_response_names_its_headers() -> None:
    for operation in OPERATIONS.values():
        for status, response in operation["responses"].items():
            headers = response["headers"]
            assert "X-Request-Id" in headers
            assert ("WWW-Authenticate" in headers) == (status == "401")
            assert status not in ("429", "503") or "Retry-After" in headers


def test_every_problem_code_stands_on_an_operation_under_its_status() -> None:
    documented = set()
    for operation in OPERATIONS.values():
        for status, response in operation["responses"].items():
            problems = response.get("content", {}).get("application/problem+json", {"examples": {}})
            documented |= set(problems["examples"])
            statuses = {example["value"]["status"] for example in problems["examples"].values()}
            assert statuses <= {int(status)}

    assert documented == {error.code for error in all_errors()} - UNDOCUMENTED_CODES


def test_links_lead_to_operations_and_their_parameters() -> None:
    links = [
        (link["operationId"], name)
        for operation in OPERATIONS.values()
        for response in operation["responses"].values()
        for link in response.get("links", {}).values()
        for name in link["parameters"]
    ]

    assert len(links) > 10
    for id_, name in links:
        assert name in {parameter["name"] for parameter in OPERATIONS[id_]["parameters"]}


def test_security_is_one_bearer_scheme_that_shows_every_scope() -> None:
    """Of two bearer schemes the Rust generator sends both, which is two Authorization headers."""
    schemes = DOCUMENT["components"]["securitySchemes"]

    assert {name: scheme["scheme"] for name, scheme in schemes.items() if scheme["type"] == "http"} == {
        "bearer": "bearer",
        "client": "basic",
    }
    assert all(f"`{scope}`" in schemes["bearer"]["description"] for scope in ("session", *Scope))


def test_security_has_the_cookie_by_its_name_and_the_setting_that_enables_it() -> None:
    cookie = DOCUMENT["components"]["securitySchemes"]["cookie"]

    assert (cookie["type"], cookie["in"], cookie["name"]) == ("apiKey", "cookie", "__Host-rollcall")
    assert "ROLLCALL_HTTP__COOKIES" in cookie["description"]
