"""Which clients are proved, and how each is built and run."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from tools.generated_clients.workspace import Command, StepFailed, Workspace, run_program
from tools.prove_clients import gateways
from tools.prove_clients.target import Ask, Running, Target

Start: TypeAlias = Callable[[Workspace, Target], AbstractContextManager[Running]]

_AUTHLIB: Final = ("authlib==1.9.10", "requests==2.32.5")
_ZITADEL: Final = "github.com/zitadel/oidc/v3@v3.52.0"


@dataclass(frozen=True)
class Client:
    """A client or gateway of another project. `start` builds it and runs it as long as the block."""

    name: str
    credentials: str
    """How it authenticates."""
    start: Start

    @property
    def slug(self) -> str:
        """The name of its directory."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.name.lower())


def _program(build: Callable[[Workspace], Command], *, revokes: bool = False) -> Start:
    """Return how to run a program that prints the login id of `TOKEN`, or `refused`."""

    @contextmanager
    def start(workspace: Workspace, target: Target) -> Iterator[Running]:
        command = [*build(workspace)]

        def run(token: str, *more: str) -> str:
            environment = {"ROLLCALL_URL": target.url, "ROLLCALL_KEY": target.key, "TOKEN": token}
            done = run_program([*command, *more], **environment)
            if done.returncode:
                raise StepFailed(done.stderr.strip()[-500:])
            return done.stdout.strip()

        def revoke(token: str) -> None:
            run(token, "revoke")

        yield Running(run, revoke if revokes else None)

    return start


def _python(program: str, *packages: str) -> Callable[[Workspace], Command]:
    def build(workspace: Workspace) -> Command:
        workspace.run(sys.executable, "-m", "venv", "venv")
        python = workspace.directory / "venv/bin/python"
        workspace.run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)
        workspace.add_program(program)
        return [python, workspace.directory / program]

    return build


def _node(program: str, package: str) -> Callable[[Workspace], Command]:
    def build(workspace: Workspace) -> Command:
        (workspace.directory / "package.json").write_text('{"private": true}')
        workspace.run("npm", "install", "--no-audit", "--no-fund", "--loglevel=error", package)
        workspace.add_program(program)
        return ["node", workspace.directory / program]

    return build


def _go(workspace: Workspace) -> Command:
    workspace.run("go", "mod", "init", "example.org/client")
    workspace.run("go", "get", _ZITADEL)
    workspace.add_program("main.go")
    workspace.run("go", "build", "-mod=mod", "-o", "client", ".")
    return [workspace.directory / "client"]


def _spring(workspace: Workspace) -> Command:
    workspace.add_program("pom.xml")
    workspace.add_program("Main.java", to="src/main/java")
    goals = ("compile", "dependency:build-classpath", "-Dmdep.outputFile=classpath")
    workspace.run("mvn", "-q", "-B", *goals)
    libraries = (workspace.directory / "classpath").read_text().strip()
    return ["java", "-cp", f"{workspace.directory / 'target/classes'}:{libraries}", "Main"]


def _without_program(ask: Callable[[Workspace, Target], AbstractContextManager[Ask]]) -> Start:
    @contextmanager
    def start(workspace: Workspace, target: Target) -> Iterator[Running]:
        with ask(workspace, target) as asking:
            yield Running(asking, None)

    return start


CLIENTS: Final = (
    Client("Spring Security", "Basic", _program(_spring)),
    Client("Go, zitadel/oidc", "Basic, discovery", _program(_go)),
    Client(
        "Node, openid-client",
        "form, discovery",
        _program(_node("client.mjs", "openid-client@6.9.0"), revokes=True),
    ),
    Client(
        "Node, token-introspection", "Basic", _program(_node("introspect.mjs", "token-introspection@3.3.0"))
    ),
    Client("Python, Authlib", "Basic", _program(_python("authlib_client.py", *_AUTHLIB), revokes=True)),
    Client(
        "Python, requests-oauth2client",
        "Basic",
        _program(_python("requests_oauth2client_client.py", "requests-oauth2client==1.8.0"), revokes=True),
    ),
    Client("Python, FastMCP", "Basic", _program(_python("fastmcp_client.py", "fastmcp==4.2.3"))),
    Client(
        "Python, Django OAuth Toolkit",
        "Basic",
        _program(_python("django_client.py", "django-oauth-toolkit==3.4.1", "requests==2.32.5")),
    ),
    Client("nginx auth_request", "the visitor's token", _without_program(gateways.nginx)),
    Client("Caddy forward_auth", "the visitor's token", _without_program(gateways.caddy)),
    Client("Apache mod_auth_openidc", "Basic", _without_program(gateways.apache)),
)

PROGRAMS: Final = Path(__file__).parent / "programs"
