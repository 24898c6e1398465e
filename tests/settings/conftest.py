"""An environment without settings."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from settings import SettingsError, get_settings, sources


@pytest.fixture(autouse=True)
def bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in os.environ:
        if name.upper().startswith("ROLLCALL_") or name.upper() == "DATABASE_URL":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources, "DOTENV", Path(".env"))
    monkeypatch.setattr(sources, "DEFAULT_SECRETS_DIR", tmp_path / "secrets")
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


class Variables:
    """Sets variables and returns the reported problems."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def set(self, **variables: str) -> None:
        for name, value in variables.items():
            self._monkeypatch.setenv(name, value)
        get_settings.cache_clear()

    def problems(self, **variables: str) -> list[str]:
        self.set(**variables)
        with pytest.raises(SettingsError) as caught:
            get_settings()
        return caught.value.problems


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> Variables:
    return Variables(monkeypatch)
