from pathlib import Path

import pytest

from settings import Settings, get_settings, masked
from settings.values import ROOT
from settings.variables import setting_variables

SETTINGS = setting_variables(Settings)


def test_env_example_uncommented_changes_no_setting() -> None:
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
