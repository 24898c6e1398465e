"""Other people's test suites, run by pytest in a process of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_EXAMPLE = ROOT / "examples/pytest"
_PLUGINS = ("rollcall_testkit.plugin", "asyncio", "anyio", "xdist")
"""What a consumer may have installed; of what we have, some takes longer to load than the tests to run."""
_THEIRS = "postgresql://theirs@127.0.0.1:1/theirs"
_KEPT = ROOT / "var/test-testkit"
"""Where the prepared database stays from run to run."""


def project_of(directory: Path, **modules: str) -> Path:
    """Make the example's project, whose modules are called `service` and `settings`, with modules more.

    Like many, it has a `.env` for the application that is tested.
    """
    project = directory / "consumer"
    shutil.copytree(_EXAMPLE, project, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
    (project / ".env").write_text(f"DATABASE_URL={_THEIRS}\nROLLCALL_URL=http://rollcall.example.org\n")
    for name, text in modules.items():
        (project / f"{name}.py").write_text(text)
    return project


def run_tests(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run tests of a project as its owner would, with the kit of this checkout."""
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
    """An environment in which an application of the consumer's own has its settings, too."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    theirs = {"DATABASE_URL": _THEIRS, "ROLLCALL_URL": "http://rollcall.example.org"}
    kit = {"PYTHONPATH": str(ROOT / "testkit/src"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return ours | theirs | kit
