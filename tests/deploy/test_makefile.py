"""`make` passes on what a caller writes, and nothing of the shell's pip and Python."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRINT_ARGUMENTS = '#!/bin/sh\nfor each in "$@"; do printf "%s\\n" "$each"; done\n'
RECORD = """#!/bin/sh
env >> "$RECORD"
echo "arguments: $@" >> "$RECORD"
test -e "$TARGET/bin/python" || { mkdir -p "$TARGET/bin"; cp "$0" "$TARGET/bin/python"; }
"""
HOSTILE = {
    "PIP_USER": "1",
    "PIP_TARGET": "/tmp/elsewhere",
    "PIP_REQUIRE_VIRTUALENV": "1",
    "PIP_CONSTRAINT": "/nowhere",
    "PYTHONHOME": "/nowhere",
    "PYTHONPATH": "/nowhere",
    "PYTHONOPTIMIZE": "2",
    "PYTHONWARNINGS": "error",
    "PYTHONIOENCODING": "latin-1",
}


def script(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def make(*arguments: str, **variables: str) -> str:
    """Run make without installing anything; return what it prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", "-s", "-o", ".venv/.runtime", *arguments],
        cwd=ROOT,
        env=environment | variables,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "name",
    [
        "cost $5",
        "a `echo hi` b",
        "$(shell echo hi)",
        "$(echo hi)",
        'it\'s "q"',
        "Zoë; echo hi",
        "a\\b",
        "$$HOME",
    ],
)
def test_make_admin_passes_the_name_as_it_was_written(tmp_path: Path, name: str) -> None:
    service = script(tmp_path / "service", PRINT_ARGUMENTS)
    printed = make("admin", "LOGIN=-root", f"NAME={name}", f"SERVICE={service}", NAME="of the shell")
    assert printed.splitlines() == ["users", "admin", "--name", name, "--", "-root"]


def test_make_takes_arguments_from_its_command_line_alone(tmp_path: Path) -> None:
    service = script(tmp_path / "service", PRINT_ARGUMENTS)
    printed = make("admin", "LOGIN=root", f"SERVICE={service}", NAME="of the shell")
    assert printed.splitlines() == ["users", "admin", "--", "root"]


@pytest.mark.parametrize(
    ("target", "argument", "expected"),
    [
        ("key", "NAME=a `echo` $x", ["keys", "create", "--scopes", "", "--", "a `echo` $x"]),
        ("migrate", "TO=7; echo hi", ["database", "migrate", "--to", "7; echo hi"]),
        ("rollback", "TO=`echo`", ["database", "rollback", "--to", "`echo`"]),
        ("plan", "TO=$x", ["database", "plan", "--to", "$x"]),
    ],
)
def test_make_executes_nothing_of_an_argument(
    tmp_path: Path, target: str, argument: str, expected: list[str]
) -> None:
    service = script(tmp_path / "service", PRINT_ARGUMENTS)
    assert make(target, argument, f"SERVICE={service}").splitlines() == expected


def test_make_install_ignores_the_shell_s_pip_and_python_but_not_its_index(tmp_path: Path) -> None:
    python, record, venv = script(tmp_path / "python3", RECORD), tmp_path / "record", tmp_path / "venv"
    given = HOSTILE | {"PIP_INDEX_URL": "https://packages.example/all", "RECORD": str(record)}
    make("install", f"PYTHON={python}", f"VENV={venv}", TARGET=str(venv), **given)
    seen = record.read_text(encoding="utf-8")
    assert seen.count("arguments:") == 3
    assert "--no-user" in seen
    assert seen.count("PIP_INDEX_URL=https://packages.example/all") == 3
    assert [name for name in HOSTILE if f"{name}=" in seen] == []
