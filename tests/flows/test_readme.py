"""The README's quick start, verbatim, against a service with default settings."""

import json
import re
import subprocess
import sys
from pathlib import Path

from harness.service_process import environment, service_process
from tests.support.clusters import copy_migrated_cluster

ROOT = Path(__file__).resolve().parents[2]
_SCRIPT = re.compile(r"<!-- quick start: .*? -->\n```sh\n(.*?)```", re.DOTALL)
_INTROSPECTION = re.compile(r"<!-- introspection: .*? -->\n```sh\n(.*?)```", re.DOTALL)
_MAKE_KEY = "make key NAME=gateway SCOPES=sessions:introspect"
_SERVICE = f"{sys.executable} -m service"
_CREATE_KEY = "keys create --scopes sessions:introspect -- gateway"
_OUTPUT = re.compile(r"It prints:\n\n```\n(.*?)```", re.DOTALL)


def shape(line: str) -> object:
    """Return a line of output without what differs between runs."""
    if not line.startswith("{"):
        return line
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", line)
    return json.loads(re.sub(r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "AT", text))


def test_quick_start_passes_no_password_as_an_argument() -> None:
    """Arguments are in the list of processes, and assignments in the history of the shell."""
    lines = "".join(_SCRIPT.findall((ROOT / "README.md").read_text())).splitlines()
    with_password = [line for line in lines if "password" in line.partition("#")[0].replace("/password", "")]
    assert with_password[0] == "read -r password"
    assert len(with_password) == 7
    assert all(line.startswith("{") for line in with_password[1:])


def test_quick_start_prints_what_the_readme_shows(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    script, shown = "".join(_SCRIPT.findall(readme)), _OUTPUT.search(readme)
    (introspection,) = _INTROSPECTION.findall(readme)
    assert shown is not None
    assert _MAKE_KEY in introspection
    copy_migrated_cluster(tmp_path / "postgres")
    mail = tmp_path / "mail"
    with service_process(tmp_path, ROLLCALL_MAIL__DIRECTORY=str(mail)) as service:
        commands = (script + introspection).replace("http://127.0.0.1:8000", service.url)
        commands = commands.replace("var/mail", str(mail)).replace(_MAKE_KEY, f"{_SERVICE} {_CREATE_KEY}")
        typed = f"{service.first_password()}\n"
        ran = subprocess.run(
            ["sh", "-euc", commands],
            cwd=ROOT / "tests",
            env=environment(ROLLCALL_DATABASE__EMBEDDED_DIR=str(tmp_path / "postgres")),
            input=typed,
            capture_output=True,
            text=True,
            check=True,
        )
    *printed, introspected = [shape(line) for line in ran.stdout.splitlines()]
    assert printed == [shape(line) for line in shown[1].splitlines()]
    assert isinstance(introspected, dict)
    assert (introspected["active"], introspected["username"]) == (True, "ada@example.org")
