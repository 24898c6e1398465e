"""Compare docs/openapi.json with that of another commit, and fail if a client of the older one would break.

A document is reduced to two tables. *Promises* are what a client may rely on: operations, inputs that are
accepted, responses, their fields and values. They must not shrink. *Demands* are what a client has to do or
to cope with: required inputs, limits, types a response may have. They must not grow.
"""

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = "docs/openapi.json"
ACCEPTED = ROOT / "tools/api_diff_accepted.txt"
_LIMITS = {"minimum": 1, "minLength": 1, "minItems": 1, "maximum": -1, "maxLength": -1, "maxItems": -1}

Node = dict[str, Any]


@dataclass
class Contract:
    """What a document promises to clients, and what it demands of them."""

    document: Node
    promises: set[str] = field(default_factory=set)
    demands: dict[tuple[str, str], float] = field(default_factory=dict)
    """By subject and demand: how strict it is, where that can be compared."""

    def __post_init__(self) -> None:
        for path, item in self.document["paths"].items():
            for method, operation in item.items():
                self._add_operation(f"{method.upper()} {path}", operation)

    def _add_operation(self, name: str, operation: Node) -> None:
        self.promises |= {name, f"{name} is called {operation['operationId']}"}
        for parameter in map(self._resolve, operation.get("parameters", ())):
            where = f"{name} {parameter['in']} {parameter['name']}"
            self._add_input(where, parameter["schema"])
            self._require(name, where, is_required=parameter.get("required", False))
        body = self._resolve(operation.get("requestBody", {}))
        self._require(name, f"{name} a body", is_required=body.get("required", False))
        for media_type, content in body.get("content", {}).items():
            self._add_input(f"{name} {media_type} ", content["schema"])
        for status, response in operation["responses"].items():
            self._add_response(f"{name} {status}", self._resolve(response))

    def _add_input(self, where: str, schema: Node) -> None:
        for path, node in self._walk(where, schema):
            self.promises |= {path, *_values(path, node), *_types(path, node)}
            for name in node.get("required", ()):
                self._require(path, f"{path}.{name}", is_required=True)
            for limit, sign in _LIMITS.items():
                if limit in node:
                    self.demands[path, f"{path} {limit}"] = sign * node[limit]
            if "pattern" in node:
                self.demands[path, f"{path} pattern {node['pattern']}"] = 0

    def _add_response(self, where: str, response: Node) -> None:
        self.promises |= {where, *(f"{where} header {name}" for name in response.get("headers", ()))}
        for media_type, content in response.get("content", {}).items():
            for path, node in self._walk(f"{where} {media_type} ", content["schema"]):
                self.promises |= {path, *_values(path, node)}
                self.promises |= {f"{path}.{name} is always there" for name in node.get("required", ())}
                self.demands |= {(path, kind): 0 for kind in _types(path, node)}

    def _require(self, subject: str, name: str, *, is_required: bool) -> None:
        if is_required:
            self.demands[subject, f"{name} is required"] = 0

    def _walk(self, path: str, schema: Node, refs: tuple[str, ...] = ()) -> Iterator[tuple[str, Node]]:
        """Yield every schema below one with its path; a schema inside itself is visited once."""
        ref = schema.get("$ref")
        if ref in refs:
            return
        refs = (*refs, ref) if ref else refs
        node = self._resolve(schema)
        yield path, node
        for name, part in node.get("properties", {}).items():
            yield from self._walk(f"{path}.{name}", part, refs)
        for part in (
            node[key] for key in ("items", "additionalProperties") if isinstance(node.get(key), dict)
        ):
            yield from self._walk(f"{path}[]", part, refs)
        for part in (part for key in ("anyOf", "oneOf", "allOf") for part in node.get(key, ())):
            yield from self._walk(path, part, refs)

    def _resolve(self, node: Node) -> Node:
        while "$ref" in node:
            found: Any = self.document
            for name in node["$ref"].removeprefix("#/").split("/"):
                found = found[name]
            node = found
        return node


def breaking_changes(base: Node, head: Node) -> list[str]:
    """Return a line for each promise that is gone, and each demand that is new or stricter.

    What is new itself may demand anything.
    """
    old, new = Contract(base), Contract(head)
    removed = old.promises - new.promises
    gone = {f"removed: {promise}" for promise in removed if not _is_below_another(promise, removed)}
    stricter = {
        f"demanded: {demand}"
        for (subject, demand), strictness in new.demands.items()
        if subject in old.promises and strictness > old.demands.get((subject, demand), -math.inf)
    }
    return sorted(gone | stricter)


def _is_below_another(promise: str, removed: set[str]) -> bool:
    """Return whether a promise belongs to one that is removed as a whole."""
    words = promise.split(" ")
    return any(" ".join(words[:length]) in removed for length in range(2, len(words)))


def _values(path: str, node: Node) -> set[str]:
    return {
        f"{path} = {json.dumps(value)}"
        for value in [*node.get("enum", ()), *node.get("x-extensible-enum", ())]
    }


def _types(path: str, node: Node) -> set[str]:
    types = node.get("type", ())
    return {f"{path}: {name}" for name in ([types] if isinstance(types, str) else types)}


def document_at(commit: str) -> Node:
    """Return the document of a commit. Raises: click.ClickException: there is none."""
    shown = subprocess.run(
        ["git", "show", f"{commit}:{DOCUMENT}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if shown.returncode:
        raise click.ClickException(shown.stderr.strip())
    return dict(json.loads(shown.stdout))


@click.command()
@click.option("--base", required=True, help="The commit whose clients must go on working.")
def api_diff(base: str) -> None:
    """Fail if a client of the API at another commit would break."""
    accepted = {
        line.rstrip()
        for line in ACCEPTED.read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    }
    found = breaking_changes(document_at(base), json.loads((ROOT / DOCUMENT).read_text(encoding="utf-8")))
    breaking = [change for change in found if change.rstrip() not in accepted]
    for change in breaking:
        click.echo(change)
    sys.exit(1 if breaking else 0)


if __name__ == "__main__":
    api_diff()
