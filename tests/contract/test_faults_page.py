"""The page on faults names tests that exist, and every fault that the chaos test injects."""

import ast
import re
from pathlib import Path

import pytest

from tools.chaos.nemesis import FAULTS

ROOT = Path(__file__).parents[2]
_TABLE = (ROOT / "docs/faults.md").read_text().partition("| fault | test | injected as |\n|---|---|---|\n")[2]
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


def test_name_the_weathers_of_the_storm_names_all_of_them() -> None:
    named = {name.strip() for _, _, weathers in ROWS for name in weathers.split(",")} - {""}
    assert named == set(FAULTS)
