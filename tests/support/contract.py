"""Check every response that a test gets against the OpenAPI document and the rules for all responses."""

import json
import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any
from uuid import UUID

import httpx
from jsonschema import Draft202012Validator

from service.api.openapi.document import document
from service.api.openapi.problems_page import FIELD_CODES
from service.api.operations import Operation

PROBLEM = "application/problem+json"
_HEADERS_ALWAYS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
_DOCUMENTED_HEADERS = frozenset(
    {"etag", "idempotent-replayed", "link", "location", "retry-after", "www-authenticate"}
)
_FORWARDED = "/v1/forward-auth"
"""Serves any method, here and below."""
_CONTRACTS: list[tuple[tuple[Operation, ...], "Contract"]] = []
_UNROUTED = {400, 404, 405}


class Contract:
    """The OpenAPI document of an application, as a check of its responses."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self.document = json.loads(json.dumps(document(operations)))
        self._components = {"schemas": _closed(self.document["components"]["schemas"])}
        self._validators: dict[str, Draft202012Validator] = {}

    async def check(self, response: httpx.Response) -> None:
        """Fail if the document does not permit a response."""
        await response.aread()
        found = self._operation_of(response.request)
        _check_headers(response, is_cacheable=response.status_code == 200 and _is_cacheable(found))
        if response.request.method == "OPTIONS":
            return
        if found is None:
            self._check_unrouted(response)
        elif str(response.status_code) not in found["responses"]:
            raise AssertionError(f"{found['operationId']} does not document {_described(response)}")
        else:
            self._check_documented(response, found["responses"][str(response.status_code)])

    @cached_property
    def _templates(self) -> list[tuple[re.Pattern[str], dict[str, Any]]]:
        paths = sorted(self.document["paths"].items(), key=lambda item: item[0].count("{"))
        return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), item) for path, item in paths]

    def _operation_of(self, request: httpx.Request) -> dict[str, Any] | None:
        path = request.url.raw_path.decode().partition("?")[0]
        if f"{path}/".startswith(f"{_FORWARDED}/"):
            forwarded: dict[str, Any] = self.document["paths"][_FORWARDED]["get"]
            return forwarded
        method = {"HEAD": "get"}.get(request.method, request.method.lower())
        item = next((item for pattern, item in self._templates if pattern.fullmatch(path)), {})
        operation: dict[str, Any] | None = item.get(method)
        return operation

    def _check_unrouted(self, response: httpx.Response) -> None:
        path = response.request.url.path
        if (path == "/" or path.startswith("/docs/")) and response.status_code in (200, 308):
            return
        assert response.status_code in _UNROUTED, f"nothing documents {_described(response)}"
        assert (response.status_code == 405) == ("allow" in response.headers)
        if response.request.method != "HEAD":
            self._check_problem(response)

    def _check_documented(self, response: httpx.Response, described: dict[str, Any]) -> None:
        present = _DOCUMENTED_HEADERS.intersection(response.headers)
        documented = {name.lower() for name in described["headers"]}
        assert present <= documented, f"{present - documented} is not documented for {_described(response)}"
        if "content" not in described or response.request.method == "HEAD":
            assert not response.content
            return
        media_type = response.headers["content-type"].partition(";")[0]
        assert media_type in described["content"], f"{media_type} of {_described(response)}"
        if media_type.endswith("json"):
            content = described["content"][media_type]
            self._check_schema(response.json(), content["schema"])
            if media_type == PROBLEM:
                self._check_problem(response)
                assert response.json()["code"] in content["examples"], f"undocumented: {_described(response)}"

    def _check_problem(self, response: httpx.Response) -> None:
        problem = response.json()
        assert response.headers["content-type"] == PROBLEM
        self._check_schema(problem, {"$ref": "#/components/schemas/Problem"})
        assert problem["status"] == response.status_code
        assert problem["type"] == f"urn:rollcall:problem:{problem['code']}"
        assert problem["instance"] == f"urn:uuid:{response.headers['x-request-id']}"
        assert ("errors" in problem) == (problem["code"] == "validation_failed")
        assert all(error["code"] in FIELD_CODES for error in problem.get("errors", ()))
        assert (response.status_code == 401) == ("www-authenticate" in response.headers)
        if response.status_code in (429, 503):
            assert int(response.headers["retry-after"]) >= 1

    def _check_schema(self, value: Any, schema: dict[str, Any]) -> None:
        key = json.dumps(schema)
        if key not in self._validators:
            self._validators[key] = Draft202012Validator({**schema, "components": self._components})
        errors = [f"{error.json_path}: {error.message}" for error in self._validators[key].iter_errors(value)]
        assert not errors, errors


def contract_of(operations: tuple[Operation, ...]) -> Contract:
    """Return the contract of an application, which equal ones share: it is a second of work."""
    for known, contract in _CONTRACTS:
        if known == operations:
            return contract
    _CONTRACTS.append((operations, Contract(operations)))
    return _CONTRACTS[-1][1]


def _is_cacheable(operation: dict[str, Any] | None) -> bool:
    return operation is not None and "Cache-Control" in operation["responses"].get("200", {}).get(
        "headers", {}
    )


def _check_headers(response: httpx.Response, *, is_cacheable: bool) -> None:
    headers = dict(response.headers)
    if is_cacheable:
        assert re.fullmatch(r"public, max-age=[0-9]+", headers["cache-control"])
        headers["cache-control"] = "no-store"
    assert {name: headers.get(name) for name in _HEADERS_ALWAYS} == _HEADERS_ALWAYS
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert str(UUID(headers["x-request-id"])) == headers["x-request-id"]
    assert "server" not in headers


def _closed(node: Any) -> Any:
    """Forbid undocumented fields, which might expose something, and undocumented values."""
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    closed = {key: _closed(value) for key, value in node.items()}
    if "properties" in node and "type" in node:
        closed["additionalProperties"] = False
    if "x-extensible-enum" in node:
        closed["enum"] = node["x-extensible-enum"]
    return closed


def _described(response: httpx.Response) -> str:
    return (
        f"{response.status_code} to {response.request.method} {response.request.url}: {response.text[:300]}"
    )
