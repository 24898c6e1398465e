"""Each defence is broken in a copy of the code, and a test has to fail for it. `make prove-defences`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.security.mutations import MUTATIONS, Mutation

PARTS = ("service", "settings", "alembic", "harness", "testkit", "tools", "tests")
FILES = ("pyproject.toml", "alembic.ini")


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.defence)
def test_mutation_still_fits_the_code(mutation: Mutation) -> None:
    code = (ROOT / mutation.file).read_text(encoding="utf-8")
    assert code.count(mutation.old) == 1
    for node in mutation.test.split():
        file, _, test = node.partition("::")
        assert (f"def {test}(" if test else "def test_") in (ROOT / file).read_text(encoding="utf-8")


def row_of(mutation: Mutation) -> str:
    tests = " and ".join(f"`{node.removeprefix('tests/')}`" for node in mutation.test.split())
    return f"| {mutation.defence} | `{mutation.file}` | {tests} |"


def test_document_lists_every_defence_and_its_test() -> None:
    page = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    table = page.partition("| defence | broken in | caught by |\n|---|---|---|\n")[2].partition("\n\n")[0]
    assert table.splitlines() == [row_of(mutation) for mutation in MUTATIONS]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of everything that runs, on the same test server."""
    for part in PARTS:
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in FILES:
        shutil.copy(ROOT / file, tmp_path / file)
    (tmp_path / "var").symlink_to(ROOT / "var")
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.defence)
def test_break_a_defence_is_noticed(copy: Path, mutation: Mutation) -> None:
    broken = copy / mutation.file
    code = broken.read_text(encoding="utf-8")
    broken.write_text(code.replace(mutation.old, mutation.new), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *mutation.test.split()]
    environment = {**os.environ, "PYTHONPATH": str(copy), "ROUNDS": "100"}
    run = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stdout[-3000:] + run.stderr[-1000:]
    assert " failed" in run.stdout
    assert "error" not in run.stdout.splitlines()[-1]
