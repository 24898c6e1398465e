from pathlib import Path

import pytest
from rollcall_testkit.checkout import find_checkout, parse_settings
from rollcall_testkit.errors import RollcallUnavailable
from rollcall_testkit.template_cluster import clone

from tests.support.consumers import ROOT


def checkout_at(root: Path, program: str | None) -> None:
    (root / "service").mkdir(parents=True)
    (root / "service/__main__.py").touch()
    (root / "requirements").mkdir()
    (root / "requirements/runtime.txt").touch()
    if program is not None:
        (root / ".venv/bin").mkdir(parents=True)
        (root / ".venv/bin/python").write_text(f"#!/bin/sh\n{program}\n")
        (root / ".venv/bin/python").chmod(0o755)


def test_find_checkout_without_a_configured_one_finds_the_one_around_the_kit() -> None:
    assert find_checkout("", Path("/")).root == ROOT


def test_find_checkout_takes_a_relative_path_and_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout_at(tmp_path / "theirs", "exit 0")
    monkeypatch.setenv("PARENT", "..")
    assert find_checkout("$PARENT/theirs", tmp_path / "ours").root == tmp_path / "theirs"


def test_find_checkout_without_an_environment_explains_how_to_create_one(tmp_path: Path) -> None:
    checkout_at(tmp_path, None)
    with pytest.raises(
        RollcallUnavailable, match=r"has no environment yet: run `make install` there, once\.$"
    ):
        find_checkout(str(tmp_path), ROOT)


def test_clone_with_a_failing_template_reports_the_reason_of_the_service_and_keeps_nothing(
    tmp_path: Path,
) -> None:
    checkout_at(tmp_path / "home", "echo 'PostgreSQL 18 (initdb) is not installed here.' >&2; exit 1")
    checkout = find_checkout(str(tmp_path / "home"), ROOT)
    cache = tmp_path / "cache"
    cache.mkdir()
    with pytest.raises(
        RollcallUnavailable, match=r"database: PostgreSQL 18 \(initdb\) is not installed here\.$"
    ):
        clone(checkout, cache, tmp_path / "postgres")
    assert [path.name for path in cache.iterdir()] == ["lock"]


def test_parse_settings_returns_allowed_settings() -> None:
    lines = ["ROLLCALL_REGISTRATION = open", "ROLLCALL_PASSWORDS__MIN_LENGTH=8"]
    assert parse_settings(lines) == {"ROLLCALL_REGISTRATION": "open", "ROLLCALL_PASSWORDS__MIN_LENGTH": "8"}


@pytest.mark.parametrize(
    "line",
    [
        "ROLLCALL_REGISTRATION",
        "DATABASE_URL=postgresql://production/accounts",
        "ROLLCALL_MIGRATIONS__DATABASE_URL=postgresql://production/accounts",
        "ROLLCALL_PROFILE=production",
        "ROLLCALL_HTTP__HOST=0.0.0.0",
    ],
)
def test_parse_settings_with_a_reserved_setting_raises(line: str) -> None:
    with pytest.raises(RollcallUnavailable, match=r"^rollcall_settings: '.*' cannot be set here\.$"):
        parse_settings(["ROLLCALL_REGISTRATION=open", line])
