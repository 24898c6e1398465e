"""Which clients are generated, and how each is built."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from tools.generated_clients.workspace import DOCUMENT, Workspace

Command: TypeAlias = Sequence[str | Path]

_OAPI_CODEGEN: Final = "github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2"
_OAPI_RUNTIME: Final = "github.com/oapi-codegen/runtime@v1.9.0"


@dataclass(frozen=True)
class ClientKit:
    """A client. `build` generates and compiles it and returns the command that runs its program."""

    language: str
    generator: str
    build: Callable[[Workspace], Command]
    missing: str = ""
    """Why it is only generated, if `build` returns no command."""

    @property
    def name(self) -> str:
        """The name in the report."""
        return f"{self.language}, {self.generator}"

    @property
    def slug(self) -> str:
        """The name of its directory and of the user that its program creates."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.name.lower())


def _go(workspace: Workspace) -> Command:
    module = ("--git-host", "example.org", "--git-user-id", "clients", "--git-repo-id", "rollcall")
    workspace.generate("go", "--package-name", "rollcall", *module)
    workspace.add_program("go/main.go", to="program")
    return _go_binary(workspace, "./program")


def _oapi_codegen(workspace: Workspace) -> Command:
    workspace.run("go", "mod", "init", "example.org/clients/oapi")
    workspace.run("go", "get", _OAPI_RUNTIME)
    (workspace.directory / "rollcall").mkdir()
    output = ("-package", "rollcall", "-o", "rollcall/client.go")
    workspace.run("go", "run", _OAPI_CODEGEN, "-generate", "types,client", *output, DOCUMENT)
    workspace.add_program("oapi_codegen/main.go")
    return _go_binary(workspace, ".")


def _go_binary(workspace: Workspace, package: str) -> Command:
    workspace.run("go", "vet", "-mod=mod", package)
    workspace.run("go", "build", "-mod=mod", "-o", "use-client", package)
    return [workspace.directory / "use-client"]


def _java(workspace: Workspace) -> Command:
    workspace.generate("java", "--library", "native", to="generated")
    (workspace.directory / "generated/src").rename(workspace.directory / "src")
    workspace.add_program("java/pom.xml")
    workspace.add_program("java/Main.java", to="src/main/java")
    return _jvm_program(workspace, "Main")


def _kotlin(workspace: Workspace) -> Command:
    workspace.generate("kotlin", to="generated")
    (workspace.directory / "generated/src").rename(workspace.directory / "src")
    workspace.add_program("kotlin/pom.xml")
    workspace.add_program("kotlin/Main.kt", to="src/main/kotlin")
    return _jvm_program(workspace, "MainKt")


def _jvm_program(workspace: Workspace, main: str) -> Command:
    skip = "-Dmaven.test.skip=true"
    workspace.run(
        "mvn", "-q", "-B", skip, "compile", "dependency:build-classpath", "-Dmdep.outputFile=classpath"
    )
    libraries = (workspace.directory / "classpath").read_text().strip()
    return ["java", "-cp", f"{workspace.directory / 'target/classes'}:{libraries}", main]


def _openapi_python_client(workspace: Workspace) -> Command:
    (workspace.directory / "config.yml").write_text("post_hooks: []\n")
    generate = ("-m", "openapi_python_client", "generate", "--meta", "none", "--fail-on-warning")
    where = ("--path", DOCUMENT, "--output-path", "rollcall_client", "--config", "config.yml")
    workspace.run(sys.executable, *generate, *where)
    workspace.add_program("python/openapi_python_client.py")
    (workspace.directory / "openapi_python_client.py").rename(workspace.directory / "use_client.py")
    return [sys.executable, workspace.directory / "use_client.py"]


def _python(workspace: Workspace) -> Command:
    workspace.generate("python", "--package-name", "rollcall_client", to="client")
    workspace.add_program("python/openapi_generator.py")
    workspace.run(sys.executable, "-m", "venv", "venv")
    python = workspace.directory / "venv/bin/python"
    workspace.run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "./client")
    return [python, workspace.directory / "openapi_generator.py"]


def _typescript_fetch(workspace: Workspace) -> Command:
    return _node_program(
        workspace,
        "typescript_fetch",
        lambda: workspace.generate(
            "typescript-fetch", "--additional-properties=importFileExtension=.js", to="client"
        ),
    )


def _openapi_fetch(workspace: Workspace) -> Command:
    return _node_program(
        workspace,
        "openapi_fetch",
        lambda: workspace.run("npx", "openapi-typescript", DOCUMENT, "-o", "schema.d.ts"),
    )


def _hey_api(workspace: Workspace) -> Command:
    return _node_program(
        workspace, "hey_api", lambda: workspace.run("npx", "openapi-ts", "-i", DOCUMENT, "-o", "client")
    )


def _node_program(workspace: Workspace, name: str, generate: Callable[[], None]) -> Command:
    files = ("package.json", "tsconfig.json", "step.ts", f"{name}.ts")
    workspace.add_program(*(f"typescript/{file}" for file in files))
    workspace.run("npm", "install", "--no-audit", "--no-fund", "--loglevel=error")
    generate()
    workspace.run("npx", "tsc")
    return ["node", workspace.directory / f"out/{name}.js"]


def _rust(workspace: Workspace) -> Command:
    workspace.generate("rust", "--package-name", "rollcall")
    workspace.add_program("rust/main.rs", to="src")
    workspace.run("cargo", "add", "--quiet", "tokio", "--features", "macros,rt-multi-thread")
    # Without TLS, which takes minutes to compile and which loopback does not need.
    target = workspace.directory / "target"
    workspace.run("cargo", "build", "--quiet", "--no-default-features", CARGO_TARGET_DIR=str(target))
    return [target / "debug/rollcall"]


def _csharp(workspace: Workspace) -> Command:
    workspace.generate("csharp", "--package-name", "Rollcall")
    workspace.run("dotnet", "build", "src/Rollcall")
    return []


KITS: Final = (
    ClientKit("Go", "openapi-generator", _go),
    ClientKit("Go", "oapi-codegen", _oapi_codegen),
    ClientKit("Java", "openapi-generator", _java),
    ClientKit("Kotlin", "openapi-generator", _kotlin),
    ClientKit("Python", "openapi-generator", _python),
    ClientKit("Python", "openapi-python-client", _openapi_python_client),
    ClientKit("TypeScript", "openapi-generator", _typescript_fetch),
    ClientKit("TypeScript", "openapi-fetch", _openapi_fetch),
    ClientKit("TypeScript", "hey-api", _hey_api),
    ClientKit("Rust", "openapi-generator", _rust),
    ClientKit("C#", "openapi-generator", _csharp, missing="compiled, but no program uses it"),
)
