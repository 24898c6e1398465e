"""The command that writes the generated documents."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from tools import documents as module
from tools.documents import documents


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return tmp_path


def test_check_documents_names_those_that_are_not_current(root: Path) -> None:
    command = CliRunner()
    assert command.invoke(documents, []).exit_code == 0
    assert command.invoke(documents, ["--check"]).exit_code == 0
    (root / ".env.example").write_text("changed")
    done = command.invoke(documents, ["--check"])
    assert (done.exit_code, done.stderr) == (1, "Error: Not current: .env.example. Run: make documents\n")
    assert (root / ".env.example").read_text() == "changed"
