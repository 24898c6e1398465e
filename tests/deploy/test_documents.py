"""What the documents for operators and contributors say is there."""

import re
import textwrap
from pathlib import Path

import click
import pytest
from prometheus_client import generate_latest

from service.api.operations import Endpoint
from service.api.schemas.sessions import SessionPage
from service.api.v1 import sessions
from service.cli import cli
from service.db.migrations.operations import ACTIONS
from service.domain.events import Action
from service.domain.keys import Scope
from service.observability.metrics import RequestTelemetry
from service.observability.stats import HashingStats, MetricsSnapshot, PoolStats

ROOT = Path(__file__).parents[2]
SOURCES = [path.read_text() for path in (ROOT / "service").rglob("*.py")]
OPERATIONS = (ROOT / "docs/operations.md").read_text()
DOCUMENTS = (
    "docs/operations.md",
    "docs/security.md",
    "docs/asvs.md",
    "docs/factors.md",
    "SECURITY.md",
    "docs/architecture.md",
    "docs/clients.md",
    "docs/decisions/README.md",
    "docs/releasing.md",
    "CONTRIBUTING.md",
    "README.md",
    "examples/README.md",
    "testkit/README.md",
)
_LOGGER_CALL = re.compile(r"_(?:log|audit)\.(?:debug|info|warning|error)\(\s*(?=(.))", re.DOTALL)
_EVENT = re.compile(r"""_log\.(?:debug|info|warning|error)\(\s*"([a-z][a-z_.]+)\"""")


DECISIONS = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_follow_links_of_a_document_leads_to_files(name: str) -> None:
    document = ROOT / name
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text())
    files = [link for link in links if "://" not in link]
    assert [link for link in files if not (document.parent / link).exists()] == []


def test_list_findings_names_tests_that_exist() -> None:
    page = (ROOT / "docs/security.md").read_text()
    table = page.partition("| found | closed for the kind | test that failed before |")[2].partition("\n\n")[
        0
    ]
    rows = table.splitlines()[2:]
    assert len(rows) > 10
    named = [re.findall(r"`([a-z_/]+\.py)(?:::(\w+))?`", row) for row in rows if row.startswith("|")]
    assert all(named)
    for file, test in (each for row in named for each in row):
        assert (f"def {test}(" if test else "def test_") in (ROOT / "tests" / file).read_text()


def test_list_what_clients_send_names_tests_that_exist() -> None:
    rows = [line for line in (ROOT / "docs/compatibility.md").read_text().splitlines() if "::" in line]
    assert len(rows) > 40
    for row in rows:
        for file, test in re.findall(r"`([a-z_/]+\.py)::(\w+)`", row):
            assert f"def {test}(" in (ROOT / "tests" / file).read_text(), row


def test_name_code_in_the_architecture_names_files_that_exist() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    named = re.findall(
        r"`((?:service/)?(?:api|app|cli|db|domain|embedded|jobs|observability|security|server|usecases|alembic)/[a-z_0-9/]+\.py)`",
        text,
    )
    assert len(named) > 10
    places = (ROOT, ROOT / "service")
    assert [name for name in named if not any((place / name).exists() for place in places)] == []


def test_declare_the_endpoint_of_the_recipe_returns_one() -> None:
    recipe = (ROOT / "CONTRIBUTING.md").read_text().partition("```python\n")[2].partition("```")[0]
    names = vars(sessions) | {"GroupReads": object, "GroupPage": SessionPage, "Scope": Scope}
    exec(textwrap.dedent(recipe), names)
    assert isinstance(names["list_groups"], Endpoint)


def test_list_operations_for_revisions_names_each_that_is_registered() -> None:
    rows = [
        line for line in (ROOT / "alembic/README.md").read_text().splitlines() if line.startswith("| `op")
    ]
    listed = {name for row in rows for name in re.findall(r"`op\.(\w+)\(", row)}
    assert listed == {action.__name__ for action in ACTIONS}


def test_list_decisions_has_a_row_for_each_with_its_title_status_and_date() -> None:
    rows = []
    for path in DECISIONS:
        head = re.match(r"# (\d+)\. (.+)\n\nStatus: (\w+) · Date: (\d{4}-\d\d-\d\d)\n", path.read_text())
        assert head, f"{path.name} begins with number, title, status and date"
        number, title, status, date = head.groups()
        assert path.name.startswith(f"{int(number):04}-")
        rows.append(f"| [{number}]({path.name}) | {title} | {status} | {date} |")
    index = (ROOT / "docs/decisions/README.md").read_text()
    assert [line for line in index.splitlines() if line.startswith("| [")] == rows
    assert len(rows) == int(rows[-1][3:].partition("]")[0])


def test_operations_document_lists_exactly_the_events_that_the_code_logs() -> None:
    section = OPERATIONS.partition("## Logs")[2].partition("## The command line")[0]
    rows = [
        line.split("|")[1]
        for line in section.splitlines()
        if re.match(r"\| `[^|]*\| (?:info|warn|err)", line)
    ]
    documented = {event for row in rows for event in re.findall(r"`([a-z_.]+)`", row)} - set(Action)
    logged = {event for source in SOURCES for event in _EVENT.findall(source)} - set(Action)
    assert documented == logged | {"request"}  # which the access log writes


def test_log_calls_begin_with_the_literal_name_of_an_event() -> None:
    first_characters = {character for source in SOURCES for character in _LOGGER_CALL.findall(source)}
    assert first_characters == {'"', "*"}  # or are a record of the audit trail


def test_log_an_event_with_a_dot_is_of_the_audit_trail() -> None:
    events = {event for source in SOURCES for event in _EVENT.findall(source) if "." in event}
    assert events <= {*Action, "login.throttled", "registration.throttled"}


def test_expose_a_metric_has_a_row_in_the_operations_document() -> None:
    telemetry = RequestTelemetry(
        lambda: MetricsSnapshot(HashingStats(1, 0, 0.0, 0, 0, 0), (PoolStats("read", 0, 0, 1, 0),), 1)
    )
    names = re.findall(r"^# TYPE (\S+)", generate_latest(telemetry.registry).decode(), re.MULTILINE)
    section = OPERATIONS.partition("## Metrics")[2].partition("## Logs")[0]
    stems = re.findall(r"`_?([a-z_]+)\*?`", section)
    missing = [
        name for name in names if not any(name.endswith(stem) or name.startswith(stem) for stem in stems)
    ]
    assert missing == []


def test_document_commands_names_every_command() -> None:
    section = OPERATIONS.partition("## The command line")[2].partition("### Moving")[0]
    names = cli.list_commands(click.Context(cli))
    assert "doctor" in names
    assert [name for name in names if f"`{name}" not in section] == []
