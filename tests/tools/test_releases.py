"""The proofs about two releases, in a short form."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from harness.service_process import ROOT, environment
from service.db.migrations.compatibility import HEAD, HEAD_ID, THIS_RELEASE, Release
from service.db.migrations.scratch import dsn_of
from tools.releases.checkout import build, working_tree
from tools.releases.schemas import choose_schemas

SHORT = (
    *("--rows", "50", "--requests", "50", "--clients", "3", "--processes", "1", "--drain-delay", "1"),
    *("--max-slowdown", "0", "--no-freeze", "--here", "--minutes", "3"),
)


def releases(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.releases", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment(**variables), capture_output=True, text=True, check=False
    )


def test_schemas_of_a_release_without_serves_from_end_one_ahead(tmp_path: Path) -> None:
    schemas = choose_schemas(Release(head=11, needs=10), Release(HEAD, needs=10), tmp_path, is_broken=False)
    assert (schemas.bottom, schemas.top) == ("0011_tune_sessions", "0012_add_serves_from")


def test_schemas_start_where_the_previous_release_left_them(tmp_path: Path) -> None:
    schemas = choose_schemas(Release(head=12, needs=10), Release(HEAD, needs=20), tmp_path, is_broken=False)
    assert (schemas.previous, schemas.bottom) == ("0012_add_serves_from", "0020_fold_names")


def test_schemas_of_a_release_with_serves_from_end_before_the_contract_step(tmp_path: Path) -> None:
    schemas = choose_schemas(Release(HEAD, needs=10), THIS_RELEASE, tmp_path, is_broken=False)
    assert (schemas.bottom, schemas.top, schemas.contract) == (HEAD_ID, "0902_fill_nickname", "0903_contract")
    assert (
        'serves_from = "0902_fill_nickname"' in (schemas.contract_versions / "0903_contract.py").read_text()
    )


def test_schemas_with_a_broken_rule_end_with_the_lie(tmp_path: Path) -> None:
    schemas = choose_schemas(Release(HEAD, needs=10), THIS_RELEASE, tmp_path, is_broken=True)
    assert schemas.top == "0903_lie"
    assert f'serves_from = "{HEAD_ID}"' in (schemas.more_versions / "0903_lie.py").read_text()


def test_schemas_of_releases_that_no_revision_serves_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="No revision serves both"):
        choose_schemas(Release(head=11, needs=10), Release(head=30, needs=14), tmp_path, is_broken=False)


def test_build_of_an_unknown_commit_is_an_error() -> None:
    with pytest.raises(click.ClickException, match="no commit 0000000"):
        build("0000000")


def test_working_tree_is_this_release() -> None:
    assert working_tree().release == THIS_RELEASE


@pytest.mark.timeout(400)
def test_rehearse_with_the_previous_release_is_clean(database: str) -> None:
    done = releases("rehearse", *SHORT, DATABASE_URL=database)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "verdict    clean"
    assert "yes        contract step while the old release is live: rejected by name" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_rehearse_with_a_lying_contract_step_is_not_clean(database: str) -> None:
    done = releases("rehearse", *SHORT, "--break-rule", DATABASE_URL=database)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "verdict    NOT CLEAN"
    assert "503 schema_behind" in done.stdout


@pytest.mark.timeout(400)
def test_flow_test_of_the_previous_release_passes_on_the_newest_schema(database: str) -> None:
    server = dsn_of(database, "postgres")
    done = releases("prove", "tests/flows/test_account_life.py", TEST_DATABASE_URL=server)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("Shown: serves_from is right for the previous release.\n")
