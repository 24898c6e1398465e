"""Test suites of consumers of the test kit, run by pytest in a process of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_EXAMPLE = ROOT / "examples/pytest"
_PLUGINS = ("rollcall_testkit.plugin", "asyncio", "anyio", "xdist")
"""Plugins that a consumer may have; some of ours take longer to load than the tests to run."""
_THEIRS = "postgresql://theirs@127.0.0.1:1/theirs"
_KEPT = ROOT / "var/test-testkit"
"""The cache with the template database."""


def project_of(directory: Path, **modules: str) -> Path:
    """Copy the example project, with modules called `service` and `settings`, and add modules to it.

    It has a `.env` for the application under test, as many projects do.
    """
    project = directory / "consumer"
    shutil.copytree(_EXAMPLE, project, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
    (project / ".env").write_text(f"DATABASE_URL={_THEIRS}\nROLLCALL_URL=http://rollcall.example.org\n")
    for name, text in modules.items():
        (project / f"{name}.py").write_text(text)
    return project


def run_tests(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the tests of a project with the kit of this checkout."""
    chosen = {"cache_dir": _KEPT, "asyncio_default_fixture_loop_scope": "function"}
    words = [*(f"-p{name}" for name in _PLUGINS), *(f"-o{name}={value}" for name, value in chosen.items())]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-Werror", f"--basetemp={project}/tmp", *words, *arguments],
        cwd=project,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        start_new_session=True,
    )


def _environment() -> dict[str, str]:
    """Return an environment with settings of the consumer's own application."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    theirs = {"DATABASE_URL": _THEIRS, "ROLLCALL_URL": "http://rollcall.example.org"}
    kit = {"PYTHONPATH": str(ROOT / "testkit/src"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return ours | theirs | kit
