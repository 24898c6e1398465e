"""Where a noun lives, and where the documents send a newcomer."""

import re
import subprocess
from pathlib import Path

import pytest

from tools.where import where

ROOT = Path(__file__).parents[2]
_TABLE = (
    (ROOT / "docs/architecture.md").read_text().partition("## Where do I change …?")[2].partition("\n## ")[0]
)
ROWS = [line.strip("|").split("|") for line in _TABLE.splitlines() if line.startswith("| …")]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    files = {
        "service/usecases/recovery.py": "",
        "service/usecases/users.py": "recovery",
        "service/domain/users.py": "# Recoveries, recovery and RECOVERY, but not recoverystuff",
        "service/api/v1/sessions.py": "nothing",
        "docs/api.md": "recovery",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    return tmp_path


def test_where_with_a_noun_lists_files_by_layer_or_else_by_content(checkout: Path) -> None:
    assert list(where("recovery", checkout)) == [
        ("usecases", ["service/usecases/recovery.py"]),
        ("domain", ["service/domain/users.py (3)"]),
        ("docs", ["docs/api.md (1)"]),
    ]


def test_where_with_a_noun_lists_what_contains_it_unless_a_file_has_its_name(checkout: Path) -> None:
    (checkout / "service/domain/recovery_codes.py").write_text("")
    assert dict(where("recovery", checkout))["domain"] == [
        "service/domain/recovery_codes.py",
        "service/domain/users.py (3)",
    ]


def test_where_with_a_plural_finds_the_singular(checkout: Path) -> None:
    assert ("usecases", ["service/usecases/users.py"]) in list(where("user", checkout))
    assert ("usecases", ["service/usecases/users.py"]) in list(where("users", checkout))


@pytest.mark.parametrize(
    ("stem", "name"),
    [("access", "access_log"), ("addresses", "client_address"), ("policy", "policies"), ("keys", "key")],
)
def test_where_with_either_number_finds_the_noun(checkout: Path, stem: str, name: str) -> None:
    (checkout / f"service/domain/{name}.py").write_text("")
    (checkout / "docs/api.md").write_text(f"{stem}, {name}")
    assert dict(where(stem, checkout))["domain"] == [f"service/domain/{name}.py"]
    assert "docs" in dict(where(stem, checkout))


@pytest.mark.parametrize("stem", ["mail-code", "mail code", "Mail_Codes"])
def test_where_with_two_words_accepts_any_separator(checkout: Path, stem: str) -> None:
    (checkout / "service/usecases/mail_codes.py").write_text("")
    (checkout / "docs/api.md").write_text("Mail codes, mail-code")
    assert list(where(stem, checkout)) == [
        ("usecases", ["service/usecases/mail_codes.py"]),
        ("docs", ["docs/api.md (2)"]),
    ]


def test_read_the_table_of_questions_has_twenty_rows() -> None:
    assert len(ROWS) >= 20


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip())
def test_read_a_response_of_the_table_names_files_that_exist(row: list[str]) -> None:
    named = re.findall(r"`([a-z_./0-9-]+/[a-z_./0-9-]*)`", row[1])
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
