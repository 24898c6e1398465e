"""Every command in the shells that people have: other locales, variables, umasks, homes and paths."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.service_process import bare_environment, environment, service_process
from tests.cli.conftest import Command
from tests.support.api import PASSWORD
from tests.support.databases import Databases

ROOT = Path(__file__).parents[2]
NAME = "Zoë 日本"
_LIMIT_S = 240.0
DRIVER = """
import json, sys
from pathlib import Path
from service.cli import main
from settings import get_settings
statuses = []
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["service", *arguments]
    get_settings.cache_clear()
    try:
        main()
    except SystemExit as end:
        statuses.append([arguments, end.code or 0])
Path(sys.argv[0] and "statuses").write_text(json.dumps(statuses), encoding="utf-8")
"""
COMMANDS: list[list[str]] = [
    ["--help"],
    ["database", "--help"],
    ["config", "show"],
    ["database", "migrate"],
    ["database", "status"],
    ["database", "plan", "--to", "-1"],
    ["users", "create", "zoe", "--name", NAME],
    ["users", "import", "import.jsonl"],
    ["users", "list"],
    ["users", "list", "--json"],
    ["users", "export", "--with-hashes", "-o", "export é.jsonl"],
    ["users", "reset-password", "zoe"],
    ["users", "disable", "zoe"],
    ["keys", "create", NAME, "--scopes", "users:read"],
    ["keys", "list"],
]
LIBPQ = {
    "PGHOST": "host.invalid",
    "PGPORT": "1",
    "PGUSER": "nobody",
    "PGDATABASE": "nowhere",
    "PGSSLMODE": "verify-full",
    "PGSSLROOTCERT": "/nowhere/root.crt",
    "PGSSLCERT": "/nowhere/client.crt",
    "PGTARGETSESSIONATTRS": "standby",
    "PGSERVICE": "nowhere",
    "PGOPTIONS": "-c work_mem=never",
    "PGAPPNAME": "x",
}
PROXY = {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "ALL_PROXY": "socks5://x:1"}


@dataclass(frozen=True)
class Shell:
    """A shell: its variables, None for one that is not set, and its umask."""

    variables: Mapping[str, str | None] = field(default_factory=dict)
    umask: int = 0o022

    def run(self, command: list[str], directory: Path, stdin: str, **settings: str) -> subprocess.Popen[str]:
        variables = {**environment(**settings), **self.variables}
        return subprocess.Popen(
            command,
            cwd=directory,
            env={name: value for name, value in variables.items() if value is not None},
            umask=self.umask,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )


SHELLS = {
    "the C locale, a closed umask": Shell({"LC_ALL": "C", "PYTHONIOENCODING": "ascii", **PROXY}, umask=0o077),
    "libpq's variables, no home": Shell(
        {"LC_ALL": "xx_XX.UTF-8", "HOME": None, "TMPDIR": "/nowhere", "PYTHONWARNINGS": "error", **LIBPQ},
        umask=0,
    ),
}
README_SHELLS: dict[str, dict[str, str]] = {
    "the C locale, libpq's variables": {"LC_ALL": "C", **LIBPQ},
    "proxies, optimized": {"PYTHONOPTIMIZE": "2", **PROXY},
}
SINGLE: dict[str, Shell] = {
    **{name: Shell({name: value}) for name, value in (LIBPQ | PROXY).items()},
    "POSIX": Shell({"LC_ALL": "POSIX"}),
    "LC_CTYPE": Shell({"LC_CTYPE": "C", "LC_ALL": None, "LANG": None}),
    "latin-1": Shell({"PYTHONIOENCODING": "latin-1"}),
    "HOME": Shell({"HOME": "/proc/nowhere"}),
    "development mode": Shell({"PYTHONDEVMODE": "1"}),
    "optimized": Shell({"PYTHONOPTIMIZE": "2"}),
    "hash seed": Shell({"PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1", "PYTHONNOUSERSITE": "1"}),
    "color": Shell({"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "20"}),
    "pip": Shell({"PIP_USER": "1", "PIP_TARGET": "/nowhere", "PIP_REQUIRE_VIRTUALENV": "1"}),
}


def run_all(shell: Shell, directory: Path, dsn: str) -> tuple[list[Any], str]:
    """Run the commands in one process; return their statuses and all that they print."""
    (directory / "import.jsonl").write_text(
        f"\ufeff{json.dumps({'login_id': 'ada', 'name': NAME})}\n", encoding="utf-8"
    )
    command = [sys.executable, "-c", DRIVER, json.dumps(COMMANDS)]
    process = shell.run(command, directory, PASSWORD, DATABASE_URL=dsn)
    printed, _ = process.communicate(f"\ufeff{PASSWORD}\n", timeout=_LIMIT_S)
    assert process.returncode == 0, printed
    return json.loads((directory / "statuses").read_text(encoding="utf-8")), printed


async def check_all(shell: Shell, databases: Databases, tmp_path: Path) -> None:
    directory = tmp_path / "a dir with ünïcode, 'quotes' and 100%"
    directory.mkdir()
    async with databases.migrated() as dsn:
        statuses, printed = run_all(shell, directory, dsn)
    assert [status for status in statuses if status[1] != 0] == [], printed
    assert len(statuses) == len(COMMANDS)
    assert "Traceback" not in printed
    exported = directory / "export é.jsonl"
    lines = [json.loads(line) for line in exported.read_text(encoding="utf-8").splitlines()]
    assert {line["name"] for line in lines} == {NAME}
    assert exported.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", SHELLS)
async def test_every_command_succeeds_in_a_hostile_shell(
    name: str, databases: Databases, tmp_path: Path
) -> None:
    await check_all(SHELLS[name], databases, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", SINGLE)
async def test_every_command_succeeds_with_one_variable_of_a_shell(
    name: str, databases: Databases, tmp_path: Path
) -> None:
    await check_all(SINGLE[name], databases, tmp_path)


def test_serve_on_the_embedded_database_in_a_hostile_shell_is_ready(tmp_path: Path) -> None:
    directory = tmp_path / "a dir with ünïcode"
    directory.mkdir()
    shell: dict[str, Any] = {
        "LC_ALL": "C",
        "HOME": "/nowhere",
        "TMPDIR": "/nowhere",
        "PYTHONWARNINGS": "error",
        **LIBPQ,
        **PROXY,
    }
    with service_process(directory, **shell) as service:
        assert service.get("/health/ready").status_code == 200
        assert service.stop() == 0


async def test_password_on_standard_input_that_is_not_utf_8_is_named(command: Command) -> None:
    refused = await command("users", "create", "zoe", stdin="pässwort mit umlaut\n".encode("latin-1"))
    assert (refused.returncode, refused.stderr) == (1, "The password on standard input is not UTF-8.\n")


@pytest.mark.parametrize("closed", ["<&- >&-", "2>&-"])
def test_command_with_closed_standard_streams_succeeds(closed: str) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$0" -m service config show {closed}', sys.executable],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("variables", README_SHELLS.values(), ids=README_SHELLS)
def test_commands_of_the_readme_succeed_in_a_hostile_shell(variables: dict[str, str], tmp_path: Path) -> None:
    settings = {"ROLLCALL_DATABASE__EMBEDDED_DIR": str(tmp_path / "a dir/postgres")}
    shell = {**bare_environment(**settings), **variables}
    for target in ("migrate", "status", "plan", "key NAME=gateway SCOPES=users:read", "rollback", "migrate"):
        done = subprocess.run(
            ["make", "-s", "-o", ".venv/.runtime", *target.split()],
            cwd=ROOT,
            env={name: value for name, value in shell.items() if name != "PYTHONPATH"},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert (target, done.returncode) == (target, 0), done.stderr
    assert os.environ.get("PGSSLMODE") is None
