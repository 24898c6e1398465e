"""The plain `alembic` command: each of its commands works, or says in one sentence why not."""

from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from shutil import copy, copytree, ignore_patterns

import pytest
from alembic.config import CommandLine, Config

from service.db.migrations import history
from service.db.migrations.compatibility import HEAD_ID
from service.db.migrations.history import ROOT
from settings import get_settings

VERSIONS = ROOT / "alembic/versions"
Alembic = Callable[..., tuple[int, str]]


@pytest.fixture
def alembic(
    database: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Alembic]:
    """Run `alembic …` on the test's database; return the exit status and all that it prints."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("DATABASE_URL", database)

    def run(*arguments: str) -> tuple[int, str]:
        get_settings.cache_clear()
        line, out, status = CommandLine("alembic"), StringIO(), 0
        options = line.parser.parse_args(arguments)
        config = Config("alembic.ini", cmd_opts=options, stdout=out, output_buffer=out)
        try:
            line.run_cmd(config, options)
        except SystemExit as end:
            status = int(end.code or 0)
        printed = capfd.readouterr()
        return status, out.getvalue() + printed.out + printed.err

    yield run
    get_settings.cache_clear()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("current", HEAD_ID),
        ("current --verbose", HEAD_ID),
        ("current --check-heads", HEAD_ID),
        ("history", "<base> -> 0001_create_users"),
        ("history --indicate-current", f"{HEAD_ID} (head) (current)"),
        ("heads", f"{HEAD_ID} (head)"),
        ("show 0003", "0003_add_roles_and_states"),
        ("branches", ""),
        ("check", "No new upgrade operations detected."),
        ("ensure_version", ""),
        ("stamp head", ""),
        ("stamp 0011_tune_sessions", "0011_tune_sessions"),
        ("downgrade -1", f"rolling back {HEAD_ID}"),
        ("upgrade head", ""),
        ("upgrade head --sql", "CREATE TABLE users"),
        ("upgrade 0003:0005 --sql", "CREATE TABLE api_keys"),
        (f"downgrade {HEAD_ID}:base --sql", "rollcall_parked"),
    ],
)
def test_alembic_command_succeeds(alembic: Alembic, arguments: str, words: str) -> None:
    status, printed = alembic(*arguments.split())
    assert (status, words in printed) == (0, True), printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("merge -m x heads", "the revisions are one line"),
        ("upgrade 0099", "Can't locate revision identified by '0099'"),
        ("downgrade --sql -1", "requires <fromrev>:<torev>"),
        ("downgrade 0099", "Can't locate revision identified by '0099'"),
        ("show 0099", "Can't locate revision identified by '0099'"),
        ("stamp 0099", "Can't locate revision identified by '0099'"),
    ],
)
def test_alembic_command_that_cannot_work_says_why_in_one_line(
    alembic: Alembic, arguments: str, words: str
) -> None:
    before = sorted(VERSIONS.iterdir())
    status, printed = alembic(*arguments.split())
    assert (status, words in printed, "Traceback" in printed) == (-1, True, False), printed
    assert len(printed.strip().splitlines()) == 1
    assert sorted(VERSIONS.iterdir()) == before


@pytest.mark.parametrize("arguments", ["current", "upgrade head", "check", "stamp head"])
def test_alembic_command_on_an_unreachable_database_says_why_in_one_line(
    alembic: Alembic, monkeypatch: pytest.MonkeyPatch, arguments: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hunter2@127.0.0.1:1/x")
    status, printed = alembic(*arguments.split())
    assert (status, "Nothing listens there" in printed, "hunter2" in printed) == (-1, True, False)
    assert len(printed.strip().splitlines()) == 1


def test_alembic_command_with_a_wrong_setting_names_it(
    alembic: Alembic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hunter2@db/x?require_auth=none")
    status, printed = alembic("current")
    assert (status, "DATABASE_URL: must not have require_auth" in printed) == (-1, True)


def test_alembic_command_in_a_directory_with_a_percent_sign_succeeds(
    alembic: Alembic, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    checkout = tmp_path / "100%s sure"
    copytree(ROOT / "alembic", checkout / "alembic", ignore=ignore_patterns("__pycache__"))
    copy(ROOT / "alembic.ini", checkout)
    monkeypatch.chdir(checkout)

    status, printed = alembic("current")
    assert (status, HEAD_ID in printed) == (0, True), printed
    monkeypatch.setattr(history, "ROOT", checkout)
    revisions = history.list_revisions(history.alembic_config(more_versions=checkout))
    assert revisions[-1].id == HEAD_ID
    assert str(checkout) in str(revisions[-1].module.__file__)


def test_read_alembic_ini_in_any_locale_needs_ascii_alone() -> None:
    for path in (ROOT / "alembic.ini", Path(ROOT / "alembic/script.py.mako")):
        assert path.read_bytes().isascii()
