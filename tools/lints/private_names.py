"""Find tests that use a private name of the code; `python -m tools.lints.private_names`.

A test that reaches inside breaks with every refactoring. The uses that are left are in private_names.txt,
which only gets shorter: a use that is not listed fails, and so does a line without its use.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = Path(__file__).with_suffix(".txt")
PUBLIC = frozenset({"_replace", "_asdict", "_fields"})
"""What a named tuple calls its public methods."""


def private_uses(source: str) -> Iterator[str]:
    """Yield each private name that a module takes from another: by attribute, import or patch."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                continue
            case ast.Attribute(attr=name):
                found = [name]
            case ast.ImportFrom(names=aliases):
                found = [alias.name for alias in aliases]
            case ast.Call(func=ast.Attribute(attr="setattr"), args=targets):
                found = [_last_name(target) for target in targets[:2]]
            case _:
                continue
        yield from (
            name for name in found if name.startswith("_") and not name.endswith("__") and name not in PUBLIC
        )


def _last_name(target: ast.expr) -> str:
    text = target.value if isinstance(target, ast.Constant) else ""
    return str(text).rpartition(".")[2]


def main() -> int:
    """Print what differs from the list, and return 1 if anything does."""
    paths = sorted((ROOT / "tests").rglob("*.py"))
    used = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in paths
        for name in private_uses(path.read_text(encoding="utf-8"))
    }
    allowed = {line for line in ALLOWED.read_text(encoding="utf-8").splitlines() if not line.startswith("#")}
    for use in sorted(used - allowed):
        print(f"{use} is private: test it through what is public")
    for use in sorted(allowed - used):
        print(f"{use} is not used any more: remove the line from {ALLOWED.relative_to(ROOT)}")
    return 1 if used != allowed else 0


if __name__ == "__main__":
    sys.exit(main())
