"""The README's quick start, verbatim, against a service with default settings."""

import json
import re
import subprocess
from pathlib import Path

from harness.service_process import service_process

ROOT = Path(__file__).resolve().parents[2]
_SCRIPT = re.compile(r"<!-- quick start: .*? -->\n```sh\n(.*?)```", re.DOTALL)
_OUTPUT = re.compile(r"It prints:\n\n```\n(.*?)```", re.DOTALL)


def shape(line: str) -> object:
    """Return a line of output without what differs between runs."""
    if not line.startswith("{"):
        return line
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", line)
    return json.loads(re.sub(r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "AT", text))


def test_quick_start_prints_what_the_readme_shows(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    script, shown = _SCRIPT.search(readme), _OUTPUT.search(readme)
    assert script is not None
    assert shown is not None
    mail = tmp_path / "mail"
    with service_process(tmp_path, ROLLCALL_MAIL__DIRECTORY=str(mail)) as service:
        commands = script[1].replace("http://127.0.0.1:8000", service.url)
        commands = commands.replace("the password that make run has shown", service.first_password() or "")
        commands = commands.replace("var/mail", str(mail))
        ran = subprocess.run(["sh", "-eu"], input=commands, capture_output=True, text=True, check=True)
    printed = [shape(line) for line in ran.stdout.splitlines()]
    assert printed == [shape(line) for line in shown[1].splitlines()]
