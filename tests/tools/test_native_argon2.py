"""Building argon2 for one machine: only a verified build of the pinned sources is installed."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools import native_argon2 as tool

Refuses = Callable[[list[str], dict[str, str]], bool]


def record(monkeypatch: pytest.MonkeyPatch, refuses: Refuses) -> list[list[str]]:
    """Run nothing, and return the commands that would have been run."""
    commands: list[list[str]] = []

    def run(command: list[str], *, env: dict[str, str], **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        if "--wheel-dir" in command:
            (Path(command[command.index("--wheel-dir") + 1]) / "built.whl").touch()
        return subprocess.CompletedProcess(command, int(refuses(command, env)), "100.0", "no such thing")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr("sys.argv", ["native_argon2.py"])
    return commands


def installed(commands: list[list[str]]) -> list[list[str]]:
    return [command for command in commands if "--force-reinstall" in command]


def test_replace_builds_the_pinned_sources_and_installs_the_verified_wheel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commands = record(monkeypatch, lambda *_: False)
    tool.main()
    (build,) = (command for command in commands if "wheel" in command)
    assert {"--no-binary", "--require-hashes", "--no-cache-dir", "--no-deps"} <= set(build)
    (tools,) = (command for command in commands if str(tool.BUILD_REQUIREMENTS) in command)
    assert {"--require-hashes", "--only-binary"} <= set(tools)
    assert "--no-build-isolation" in build
    assert build[0] == tools[0] != sys.executable
    assert [command[-1].endswith("built.whl") for command in installed(commands)] == [True]


def test_replace_without_a_compiler_reports_it_and_installs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = record(monkeypatch, lambda command, _: "wheel" in command)
    with pytest.raises(SystemExit, match="C compiler"):
        tool.main()
    assert installed(commands) == []


def test_replace_with_a_build_that_does_not_verify_installs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = record(monkeypatch, lambda _, environment: "PYTHONPATH" in environment)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with pytest.raises(SystemExit, match="does not verify"):
        tool.main()
    assert installed(commands) == []


def test_undo_installs_the_pinned_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = record(monkeypatch, lambda *_: False)
    monkeypatch.setattr("sys.argv", ["native_argon2.py", "--undo"])
    tool.main()
    assert [{"--only-binary", "--require-hashes"} <= set(command) for command in installed(commands)] == [
        True
    ]


def test_pinned_contains_only_the_locked_version_and_its_hashes(tmp_path: Path) -> None:
    tool.pinned(tmp_path)
    first, *hashes = (tmp_path / "pinned.txt").read_text().splitlines()
    assert first.startswith("argon2-cffi-bindings==")
    assert len(hashes) > 1
    assert all(line.strip().startswith("--hash=sha256:") for line in hashes)
