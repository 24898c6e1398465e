"""The previous release, built from git history in an environment of its own."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

import click

from service.db.migrations.compatibility import Release

ROOT: Final = Path(__file__).resolve().parents[2]
PREVIOUS_RELEASE: Final = ROOT / "previous-release.txt"
_BUILDS: Final = ROOT / "var" / "releases"
_OPERATIONS: Final = tuple(
    f"service/db/migrations/{name}.py"
    for name in ("batches", "lock", "lock_retry", "online", "operations", "parked_guards", "parking")
)
"""What revisions use of this release."""
_READ_RELEASE: Final = (
    "import json; from service.db.migrations import compatibility as c;"
    "print(json.dumps([c.HEAD, getattr(c, 'NEEDS', c.HEAD - 1)]))"
)


@dataclass(frozen=True, slots=True)
class Checkout:
    """A release that can be run: its code, its interpreter, and the schemas that it works on."""

    path: Path
    python: str
    release: Release

    def run(self, *arguments: str, **variables: str) -> int:
        """Run `python …` in the checkout and return the exit status."""
        command = [self.python, *arguments]
        return subprocess.run(command, cwd=self.path, env=self.environment(variables), check=False).returncode

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return an environment without settings but for these, in which the checkout's code is imported."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("ROLLCALL_") and name != "DATABASE_URL"
        }
        return {**kept, "PYTHONPATH": str(self.path), **variables}


def working_tree() -> Checkout:
    """Return the release of the working tree."""
    return Checkout(ROOT, sys.executable, _release_of(ROOT, sys.executable))


def build(commit: str | None, *, requirements: str = "runtime") -> Checkout:
    """Return a commit's release, by default the previous one.

    It runs on this interpreter, unless it was locked to other packages.

    Raises:
        click.ClickException: the commit is not in this repository, or too old to be run this way.
    """
    commit = _resolve(commit or _previous_commit())
    path = _BUILDS / commit[:12]
    if not path.exists():
        _extract(commit, path)
    python = _interpreter(path, requirements)
    return Checkout(path, python, _release_of(path, python))


def with_newest_schema(checkout: Checkout, *, is_served: bool) -> Checkout:
    """Return a copy of a release that migrates to this working tree's newest revision.

    Unless the schema serves the release, its revisions say that it does: so that the code is tried on the
    tables, and not stopped by the row. The operations of the revisions come with them.
    """
    path = checkout.path.with_name(f"{checkout.path.name}-newest")
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(checkout.path, path, ignore=shutil.ignore_patterns(".venv", "var"))
    (path / "var").mkdir()  # its tests write a lock there, also on a server of TEST_DATABASE_URL
    for revision in (ROOT / "alembic" / "versions").glob("*.py"):
        lines = revision.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if is_served or not line.startswith("serves_from = ")]
        (path / "alembic" / "versions" / revision.name).write_text("".join(kept), encoding="utf-8")
    for name in _OPERATIONS:
        shutil.copy(ROOT / name, path / name)
    return Checkout(path, checkout.python, checkout.release)


def _previous_commit() -> str:
    return next(
        line for line in PREVIOUS_RELEASE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    )


def _resolve(commit: str) -> str:
    try:
        return _git("rev-parse", "--verify", "--end-of-options", f"{commit}^{{commit}}")
    except subprocess.CalledProcessError:
        raise click.ClickException(
            f"There is no commit {commit} in this repository: fetch the whole history."
        ) from None


def _extract(commit: str, path: Path) -> None:
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
    unfinished = path.with_suffix(".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    with tarfile.open(fileobj=BytesIO(archive)) as files:
        if hasattr(tarfile, "data_filter"):  # not in Python 3.11.2
            files.extractall(unfinished, filter="data")
        else:
            files.extractall(unfinished)  # noqa: S202 - an archive of our own history
    unfinished.rename(path)


def _interpreter(path: Path, requirements: str) -> str:
    """Return this interpreter if it has what the release is locked to; otherwise one of a new environment."""
    name = f"requirements/{requirements}.txt"
    if _locked(path / name) <= _locked(ROOT / name):
        return sys.executable
    python = path / ".venv" / "bin" / "python"
    done = path / ".venv" / f".{requirements}"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", path / ".venv"], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", name]
        subprocess.run(install, cwd=path, check=True)
        done.touch()
    return str(python)


def _locked(requirements: Path) -> set[str]:
    """Return the packages with their versions, without extras and hashes."""
    lines = requirements.read_text(encoding="utf-8").splitlines()
    return {re.sub(r"\[[^]]*\]", "", line.removesuffix(" \\")) for line in lines if line[:1].isalnum()}


def _release_of(path: Path, python: str) -> Release:
    read = subprocess.run(
        [python, "-c", _READ_RELEASE], cwd=path, capture_output=True, text=True, check=False
    )
    if read.returncode:
        raise click.ClickException(f"The release in {path.name} is too old: it does not say what it needs.")
    head, needs = json.loads(read.stdout)
    return Release(head, needs)


def _git(*arguments: str) -> str:
    command: Sequence[str] = ["git", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
