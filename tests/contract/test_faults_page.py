"""The page on faults names tests and chaos faults that exist, and leaves out no chaos fault."""

import ast
import re
from pathlib import Path

import pytest

from tools.chaos.nemesis import FAULTS

ROOT = Path(__file__).parents[2]
_TABLE = (ROOT / "docs/faults.md").read_text().partition("| fault | test | chaos test |\n|---|---|---|\n")[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")] for line in _TABLE.partition("\n\n")[0].splitlines()
]


def names_in(file: str) -> set[str]:
    tree = ast.parse((ROOT / "tests/faults" / file).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_name_a_proof_of_a_fault_names_a_test_that_exists(row: list[str]) -> None:
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", row[1])
    assert named
    assert [name for file, name in named if name not in names_in(file)] == []


def test_page_names_every_chaos_fault() -> None:
    named = {name.strip() for _, _, faults in ROWS for name in faults.split(",")} - {""}
    assert named == set(FAULTS)
