"""Other people's test suites, run by pytest in a process of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_EXAMPLE = ROOT / "examples/pytest"
_OPTIONS = ("-p", "rollcall_testkit.plugin", "-p", "no:faker", "-p", "no:schemathesis", "-W", "error")
_KEPT = ROOT / "var/test-testkit"
"""Where the prepared database stays from run to run."""


def project_of(directory: Path, **modules: str) -> Path:
    """Make the example's project, whose modules are called `service` and `settings`, with modules more."""
    project = directory / "consumer"
    shutil.copytree(_EXAMPLE, project, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
    for name, text in modules.items():
        (project / f"{name}.py").write_text(text)
    return project


def run_tests(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run tests of a project as its owner would, with the kit of this checkout."""
    chosen = {"cache_dir": _KEPT, "asyncio_default_fixture_loop_scope": "function"}
    words = [*_OPTIONS, *(f"-o{name}={value}" for name, value in chosen.items()), *arguments]
    return subprocess.run(
        [sys.executable, "-m", "pytest", f"--basetemp={project}/tmp", *words],
        cwd=project,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def _environment() -> dict[str, str]:
    """An environment in which an application of the consumer's own has its settings, too."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    theirs = {
        "DATABASE_URL": "postgresql://theirs@127.0.0.1:1/theirs",
        "PYTHONPATH": str(ROOT / "testkit/src"),
    }
    return ours | theirs
