"""How the program of a client is built in each language; packages stay in the workspace."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from tools.generated_clients.workspace import Command, Workspace

Build: TypeAlias = Callable[[Workspace], Command]
"""Builds a program and returns the command that runs it. Raises: Unavailable, StepFailed."""

PROGRAMS: Final = Path(__file__).parent / "programs"


def python_program(program: str, *packages: str) -> Build:
    """Return how to install packages in an environment of its own, for a program."""

    def build(workspace: Workspace) -> Command:
        workspace.run(sys.executable, "-m", "venv", "venv")
        python = workspace.directory / "venv/bin/python"
        workspace.run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)
        workspace.add_program(program)
        return [python, workspace.directory / Path(program).name]

    return build


def node_program(program: str, package: str) -> Build:
    """Return how to install a package for a program."""

    def build(workspace: Workspace) -> Command:
        (workspace.directory / "package.json").write_text('{"private": true}')
        workspace.run("npm", "install", "--no-audit", "--no-fund", "--loglevel=error", package)
        workspace.add_program(program)
        return ["node", workspace.directory / Path(program).name]

    return build


def go_program(program: str, module: str) -> Build:
    """Return how to compile a program that uses a module."""

    def build(workspace: Workspace) -> Command:
        workspace.run("go", "mod", "init", "example.org/client")
        workspace.run("go", "get", module)
        workspace.add_program(program)
        workspace.run("go", "build", "-mod=mod", "-o", "client", ".")
        return [workspace.directory / "client"]

    return build


def java_program(folder: str = ".") -> Build:
    """Return how to compile the `Main` of a folder with its `pom.xml`."""

    def build(workspace: Workspace) -> Command:
        workspace.add_program(f"{folder}/pom.xml")
        workspace.add_program(f"{folder}/Main.java", to="src/main/java")
        goals = ("compile", "dependency:build-classpath", "-Dmdep.outputFile=classpath")
        workspace.run("mvn", "-q", "-B", *goals)
        libraries = (workspace.directory / "classpath").read_text().strip()
        return ["java", "-cp", f"{workspace.directory / 'target/classes'}:{libraries}", "Main"]

    return build


def rust_program(folder: str) -> Build:
    """Return how to compile the `main.rs` of a folder with its `Cargo.toml`."""

    def build(workspace: Workspace) -> Command:
        workspace.add_program(f"{folder}/Cargo.toml")
        workspace.add_program(f"{folder}/main.rs", to="src")
        target = workspace.directory / "target"
        workspace.run("cargo", "build", "--quiet", CARGO_TARGET_DIR=str(target))
        return [target / "debug/verifier"]

    return build
