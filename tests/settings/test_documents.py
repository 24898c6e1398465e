import sys
from pathlib import Path

import pytest

from settings import Settings, documents, get_settings, masked
from settings.__main__ import main
from settings.values import ROOT
from settings.variables import setting_variables

SETTINGS = setting_variables(Settings)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (documents, sys.modules["settings.__main__"]):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    return tmp_path


def test_documents_in_the_checkout_are_current() -> None:
    assert documents.stale_documents() == []


def test_env_example_with_every_line_taken_changes_nothing() -> None:
    defaults = masked(get_settings())
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    taken = [line[1:] for line in lines if line.startswith("#") and not line.startswith("# ")]
    Path(".env").write_text("\n".join(taken), encoding="utf-8")
    get_settings.cache_clear()
    assert masked(get_settings()) == defaults
    assert [line.split("=")[0] for line in taken] == list(SETTINGS)


@pytest.mark.parametrize("variable", SETTINGS)
def test_setting_is_described_and_bounded(variable: str) -> None:
    setting = SETTINGS[variable]
    assert setting.field.description
    assert "None" not in setting.constraint
    assert f"| `{variable}` | " in (ROOT / "docs/settings.md").read_text(encoding="utf-8")


def test_docs_command_writes_what_its_check_asks_for(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["settings", "docs", "--check"])
    assert main() == 1
    assert capsys.readouterr().err == (
        "Out of date: docs/settings.md, .env.example; run `python -m settings docs`.\n"
    )
    monkeypatch.setattr(sys, "argv", ["settings", "docs"])
    assert main() == 0
    (scratch / ".env.example").write_text("changed")
    monkeypatch.setattr(sys, "argv", ["settings", "docs", "--check"])
    assert main() == 1
    assert capsys.readouterr().err == ("Out of date: .env.example; run `python -m settings docs`.\n")


def test_docs_command_without_command_exits_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["settings"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
