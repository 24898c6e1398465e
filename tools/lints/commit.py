"""`python -m tools.lints.commit`: only `service/db/core` begins and commits transactions."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXCEPTIONS = {
    "service/db/core/": "the one place",
    "service/db/migrations/": "each revision is a transaction of its own",
    "service/db/instances.py": "heartbeats must work on a schema of another release",
}
"""Files, or directories that end with a slash, and why they may."""
_METHODS = frozenset({"begin", "begin_nested", "begin_transaction", "commit"})
_SQL = re.compile(r"\s*(BEGIN|START TRANSACTION|COMMIT|END)\b\s*($|;|READ|ISOLATION|WORK|TRANSACTION)")


def transactions_in(source: str) -> Iterator[int]:
    """Yield the lines that call a method of a transaction or contain its SQL."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(attr=name)) if name in _METHODS:
                yield node.lineno
            case ast.Constant(value=str(text)) if _SQL.match(text):
                yield node.lineno


def main() -> int:
    """Print each transaction outside and each exception that nothing needs; return 1 if there are any."""
    needed, problems = set(), []
    for path in sorted((ROOT / "service").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        exception = next((each for each in EXCEPTIONS if f"{name}/".startswith(each)), None)
        for line in transactions_in(path.read_text(encoding="utf-8")):
            needed.add(exception)
            if exception is None:
                problems.append(f"{name}:{line}: only the database module commits: use Database.run")
    problems += [f"{each} needs no exception: remove it" for each in EXCEPTIONS.keys() - needed]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
